"""Sentences with a blank: phrases put into templates so that they fit a text tower, and the words to fill in."""

from collections.abc import Sequence

from transformers import BatchEncoding, PreTrainedTokenizerBase

from hf_prompt_models.processing_utils import refuse_long_text
from hf_prompt_models.utils.describing import describe_value


MASK = "[MASK]"
"""The blank as templates write it, whatever the tokenizer's mask token."""


def clean_phrase(phrase: str, tokenizer: PreTrainedTokenizerBase, index: int) -> str:
    """A phrase without full stops (as in the released code) and with single spaces.

    Raises:
        ValueError: naming the index of a phrase that is empty or contains the mask token or another special token.
    """
    cleaned = " ".join(phrase.replace(".", "").split())
    for token in (MASK, *tokenizer.all_special_tokens):
        if token in phrase or token in cleaned:
            raise ValueError(
                f"Phrase {index} contains the special token {token!r}, which would be read as one: {phrase!r}."
            )
    if not cleaned:
        raise ValueError(f"Phrase {index} is empty: {phrase!r}.")
    return cleaned


def check_template(template: str, num_blanks: int) -> str:
    """A template with one `{}` for the phrase and so many `[MASK]`."""
    if template.count("{}") != 1 or template.count(MASK) != num_blanks:
        wanted = f"one {{}} for the phrase and {'one' if num_blanks else 'no'} {MASK}"
        raise ValueError(f"A template has {wanted}, as in '{{}} is in [MASK] color.'; got {describe_value(template)}.")
    return template


def encode_sentence(
    template: str,
    phrases: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    tags: str | None = None,
    truncation: bool = False,
    cut_tags: list[str] | None = None,
) -> BatchEncoding:
    """Token ids of a template filled with phrases.

    Args:
        template: with a `{}` for each phrase, and `[MASK]` for blanks.
        phrases: of `clean_phrase`.
        tokenizer: the backbone's.
        max_length: tokens that the text tower takes, special tokens included.
        tags: a second segment (Oscar's object tags), which gives way to the sentence: it is cut first, at its end.

        truncation: cut the ends of phrases until all fits, the longest first; the template is never cut.

        cut_tags: gets tags that do not fit whole.

    Raises:
        ValueError: if the sentence is too long, or with `truncation` the template alone.
    """
    template = template.replace(MASK, tokenizer.mask_token or MASK)
    sentence = fill_template(template, phrases)
    encoded = tokenizer(sentence, verbose=False)
    if len(encoded.input_ids) > max_length:
        alone = len(tokenizer(fill_template(template, [""] * len(phrases)), verbose=False).input_ids)
        if alone > max_length:
            raise ValueError(
                f"The template {template!r} alone is {alone} tokens; the text tower takes {max_length}. Write a "
                "shorter one."
            )
        if not truncation:
            refuse_long_text("A phrase in its template", " … ".join(phrases), len(encoded.input_ids), max_length)
    ends = [piece_ends(phrase, tokenizer)[:max_length] for phrase in phrases]
    while len(encoded.input_ids) > max_length:
        max(ends, key=len).pop()
        kept = [phrase[: of_phrase[-1]] if of_phrase else "" for phrase, of_phrase in zip(phrases, ends, strict=True)]
        sentence = fill_template(template, kept)
        encoded = tokenizer(sentence, verbose=False)
    if tags and cut_tags is not None and len(tokenizer(sentence, tags, verbose=False).input_ids) > max_length:
        cut_tags.append(tags)
    if tags and len(tokenizer(sentence, "", verbose=False).input_ids) < max_length:
        return tokenizer(sentence, tags, truncation="only_second", max_length=max_length, verbose=False)
    return encoded


def piece_ends(phrase: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Where each piece of a phrase ends, in characters."""
    spans = tokenizer(phrase, add_special_tokens=False, return_offsets_mapping=True, verbose=False).offset_mapping
    return [end for _, end in spans]


def fill_template(template: str, phrases: Sequence[str]) -> str:
    """The sentence; a brace within a phrase is a character like others."""
    parts = template.split("{}")
    return "".join(part + phrase for part, phrase in zip(parts, [*phrases, ""], strict=True)).strip()


def word_pieces(word: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids of a word or words as they stand within a sentence, that is behind a space.

    Raises:
        ValueError: for a word that the tokenizer does not know.
    """
    pieces = tokenizer(f" {word}", add_special_tokens=False, verbose=False).input_ids
    if not pieces or tokenizer.unk_token_id in pieces:
        raise ValueError(f"The tokenizer of the backbone does not know the word {word!r}: use another.")
    return pieces


def single_piece(word: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token id of a word that fills one blank, with a leading space where the vocabulary has it so.

    Raises:
        ValueError: for a word that is several pieces or unknown.
    """
    for written in (f" {word}", word):
        pieces = tokenizer(written, add_special_tokens=False, verbose=False).input_ids
        if len(pieces) == 1 and pieces[0] != tokenizer.unk_token_id:
            return pieces[0]
    raise ValueError(
        f"{word!r} is not one piece for the tokenizer of the backbone but {tokenizer.convert_ids_to_tokens(pieces)}: "
        "a word that fills one blank must be. Use another."
    )


def label_blanks(label_ids: Sequence[Sequence[int]]) -> list[int]:
    """The different numbers of pieces that labels have, smallest first."""
    return sorted({len(pieces) for pieces in label_ids})
