"""Check for examples that are both trained on and tested on, which would invalidate a result."""

import os
from collections.abc import Hashable, Iterable

from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.text.captioned_videos import VideoText
from hf_prompt_models.prefix_lm.examples import GenerationExample


def check_disjoint(train: Iterable[Hashable], test: Iterable[Hashable], allowed: bool, kind: str) -> None:
    """Refuse a test set with training examples.

    Args:
        train: Identity of each training example, as the functions below return it.
        test: Identity of each test example, as the same functions return it.
        allowed: Whether shared examples are allowed.
        kind: Name of an example.

    Raises:
        ValueError: If there are shared examples; the message counts them.
    """
    if allowed:
        return
    known, tested = set(train), list(test)
    shared = sum(each in known for each in tested)
    if shared:
        raise ValueError(
            f"{shared} of the {len(tested)} test {kind}s are also training {kind}s, so the result would not "
            "show how the model performs on new ones. Pass other test data, or pass --allow_shared_files "
            "true if this is intended."
        )


def labelled_files(files: LabelledFiles) -> list[Hashable]:
    """Return the identities of files, or of the rows of a dataset."""
    return [same_file(files.path(index)) for index in range(len(files))]


def phrases(expressions: ReferringExpressions) -> list[Hashable]:
    """Return the identities of phrases about images, each with its box."""
    pairs = zip(expressions.names, expressions.texts, expressions.boxes, expressions.pictures, strict=True)
    return [(same_file(os.path.join(expressions.source, picture)), text, *box) for _, text, box, picture in pairs]


def generated_texts(examples: Iterable[GenerationExample]) -> list[Hashable]:
    """Return the identities of images with a prompt and the text to generate."""
    return [
        (tuple(same_file(image.name) for image in each.images), each.prompt, each.target or each.references)
        for each in examples
    ]


def video_texts(items: Iterable[VideoText]) -> list[Hashable]:
    """Return the identities of videos with a sentence."""
    return [(same_file(str(each.video)), each.text) for each in items]


def same_file(path: str) -> Hashable:
    """Return an identity that all links to a file share; a name that is not a file is its own identity."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino
