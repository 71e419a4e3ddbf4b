"""VQA accuracy and its normalisation of answers (GT-Vision-Lab/VQA, vqaEvaluation/vqaEval.py)."""

import re
from collections.abc import Sequence

from hf_prompt_models.utils.describing import describe_value


PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
COMMA_IN_NUMBER = re.compile(r"\d,\d")
PERIOD = re.compile(r"\.(?!\d)")
ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(NUMBER_WORDS)}
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTIONS.split()
    for place, character in enumerate(word)
    if character == "'"
} | {"somebody'd": "somebodyd"}  # reversed in the official table; kept so that scores are comparable
"""The correct form of each contraction, by the form with a missing apostrophe."""


def normalize_answer(answer: str) -> str:
    """Return an answer in the form that VQA compares: lower case, without articles, number words as digits.

    A punctuation mark becomes a space, or is removed if one such mark is next to a space or the answer has a number
    such as `1,000`. Periods that are not followed by a digit are removed, and missing apostrophes are restored.
    """
    answer = answer.replace("\n", " ").replace("\t", " ").strip()
    has_number = COMMA_IN_NUMBER.search(answer) is not None
    text = answer
    for mark in PUNCTUATION:
        beside_space = f"{mark} " in answer or f" {mark}" in answer
        text = text.replace(mark, "" if has_number or beside_space else " ")
    digits = [NUMBERS.get(word, word) for word in PERIOD.sub("", text).lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in digits if word not in ARTICLES)


def vqa_scores(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], legacy_unanimous: bool = False
) -> list[float]:
    """Return how well each prediction agrees with human answers, from 0 to 1 (Antol et al., ICCV 2015).

    A score is the mean, over the ways to leave one person out, of min(1, others who gave this answer / 3).

    Args:
        predictions: one answer per question.
        answers: the answers of several people to each question; ten in VQA.
        legacy_unanimous: compare texts without normalisation if all people gave the same answer, as the official code
            does since 2018 (meant for questions about text in an image). "Yes." is then wrong if all people answered
            "yes". By default, both sides are always normalised.

    Raises:
        ValueError: if there is no prediction, the number of answers differs, or a question has no answer.
    """
    if len(predictions) != len(answers) or not predictions:
        raise ValueError(
            f"Expected as many lists of answers as predictions, and at least one, got {len(predictions)} "
            f"predictions and {len(answers)} lists."
        )
    scores = []
    for place, (prediction, people) in enumerate(zip(predictions, answers, strict=True)):
        if isinstance(people, str) or not people:
            raise ValueError(f"Expected a list of human answers for question {place}, got {describe_value(people)}.")
        stripped = [answer.replace("\n", " ").replace("\t", " ").strip() for answer in people]
        if legacy_unanimous and len(set(stripped)) == 1:
            matches = [answer == prediction.replace("\n", " ").replace("\t", " ").strip() for answer in stripped]
        else:
            wanted = normalize_answer(prediction)
            matches = [normalize_answer(answer) == wanted for answer in stripped]
        total = sum(matches)
        scores.append(sum(min(1.0, (total - match) / 3) for match in matches) / len(matches))
    return scores


def vqa_accuracy(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], legacy_unanimous: bool = False
) -> float:
    """Return the mean of `vqa_scores`, from 0 to 1. Arguments and errors are those of `vqa_scores`."""
    scores = vqa_scores(predictions, answers, legacy_unanimous)
    return sum(scores) / len(scores)
