"""ALPRO's entity vocabulary: the most frequent nouns of captions (arXiv 2112.09583, §4.1)."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hf_prompt_models.data.text.records import MAX_BYTES
from hf_prompt_models.data.videos.table import KIND, first_field, read_rows
from hf_prompt_models.utils.files import read_json


WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
_STOP_WORDS = """
    a an the this that these those some any no each every all both either neither such own same other another
    and or but nor so yet if then than as because while although though unless until since when where which who whom
    whose what how why whether of in on at by for with about against between into through during before after above
    below to from up down out off over under again further here there near across along around behind beside beyond
    inside outside onto upon toward towards within without via per
    i me my mine myself you your yours yourself he him his himself she her hers herself it its itself we us our ours
    ourselves they them their theirs themselves one ones someone something anyone anything everyone everything nobody
    nothing oneself
    am is are was were be been being have has had having do does did doing will would shall should can could may might
    must ought not only just very too also more most much many few less least quite rather even still now ever never
    always often once
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words that are not counted as nouns. Captions with only such words raise an error."""


def read_captions(path: str | os.PathLike) -> list[tuple[str, str]]:
    """Read captions, each with its location for error messages.

    Args:
        path: a list as for `read_rows`, with a field `caption`, or a JSON file with a list of texts.

    Returns:
        Pairs of a location and a caption.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a row has no caption. The message names it.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        value = read_json(path, MAX_BYTES, KIND)
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            return [(f"{path}, entry {place}", caption) for place, caption in enumerate(value)]
    return [(where, first_field(row, ("caption",), where)[1]) for where, row in read_rows(path)]


def check_captions(captions: Iterable[tuple[str, str]]) -> list[str]:
    """Return the texts of captions after checking that each has a word that is not a stop word.

    Args:
        captions: pairs of a location and a caption, as returned by `read_captions`.

    Raises:
        ValueError: if captions have only stop words. The message lists the first of them.
    """
    texts, empty = [], []
    for where, caption in captions:
        words = [word.lower() for word in WORD.findall(caption)]
        if all(word in STOP_WORDS for word in words):
            empty.append(f"{where}: {caption[:60]!r}")
        texts.append(caption)
    if empty:
        listed = "\n".join(f"- {each}" for each in empty[:10])
        more = f"\n- and {len(empty) - 10} more" if len(empty) > 10 else ""
        raise ValueError(
            f"{len(empty)} of {len(texts)} captions contain only stop words and name nothing that a video "
            f"could show. Fix or remove them.\n{listed}{more}"
        )
    return texts


def count_nouns(captions: Iterable[str]) -> Counter[str]:
    """Count the nouns in captions, in lower case. A plural is counted as its singular if the captions contain it too.

    Args:
        captions: texts of the captions.

    Raises:
        ImportError: if TextBlob is not installed.
    """
    tag, singularize = _tagger()
    counts = Counter(
        word
        for caption in captions
        for word, part in tag(caption.lower())
        if part in ("NN", "NNS") and WORD.fullmatch(word) and word not in STOP_WORDS
    )
    folded: Counter[str] = Counter()
    for word, count in counts.items():
        singular = singularize(word)
        folded[singular if singular in counts else word] += count
    return folded


def count_listed(captions: Iterable[str], entities: Sequence[str]) -> Counter[str]:
    """Count the captions that contain each entity as complete words, regardless of case.

    Args:
        captions: texts of the captions.
        entities: entities to count.
    """
    patterns = {entity: re.compile(rf"(?<!\w){re.escape(entity.lower())}(?!\w)") for entity in entities}
    counts: Counter[str] = Counter()
    for caption in captions:
        text = caption.lower()
        counts.update(entity for entity, pattern in patterns.items() if pattern.search(text))
    return counts


def most_frequent(counts: Counter[str], top: int) -> list[tuple[str, int]]:
    """Return the `top` most frequent entities and their counts. Equally frequent ones are in alphabetical order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]


def _tagger() -> tuple[Callable[[str], list[tuple[str, str]]], Callable[[str], str]]:
    """Return TextBlob's lexicon-based part-of-speech tagger, which needs no download, and its singularisation."""
    try:
        from textblob.en import tag
        from textblob.en.inflect import singularize
    except ImportError as error:
        raise ImportError(
            "TextBlob is needed to find nouns. Install it with pip install 'hf_prompt_models[nouns]', or pass "
            "your own entities with --entities list.txt."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # TextBlob leaves its lexicon file open
        tag("a dog")
    return tag, singularize
