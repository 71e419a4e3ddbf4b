"""Examples that are both trained on and tested on, which a result must not count."""

import os
from collections.abc import Hashable, Iterable

from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.text.captioned_videos import VideoText
from hf_prompt_models.prefix_lm.examples import WritingExample


def check_disjoint(train: Iterable[Hashable], test: Iterable[Hashable], allowed: bool, kind: str) -> None:
    """Refuse a test whose examples are trained on.

    Args:
        train, test: what tells each example from others, of the same kind, as the functions below give it.
        allowed: whether that is meant.
        kind: what an example is called.

    Raises:
        ValueError: counting them.
    """
    if allowed:
        return
    known, tested = set(train), list(test)
    shared = sum(each in known for each in tested)
    if shared:
        raise ValueError(
            f"{shared} of the {len(tested)} test {kind}s are training {kind}s too, for which a result says nothing "
            "about new ones. Name other test data, or pass --allow_shared_files true if that is meant."
        )


def labelled_files(files: LabelledFiles) -> list[Hashable]:
    """The files themselves; of a data set its rows."""
    return [same_file(files.path(index)) for index in range(len(files))]


def phrases(expressions: ReferringExpressions) -> list[Hashable]:
    """Phrases about images, each with the box that it means."""
    pairs = zip(expressions.names, expressions.texts, expressions.boxes, expressions.pictures, strict=True)
    return [(same_file(os.path.join(expressions.source, picture)), text, *box) for _, text, box, picture in pairs]


def generated_texts(examples: Iterable[WritingExample]) -> list[Hashable]:
    """Images with a prompt and the text to generate."""
    return [
        (tuple(same_file(image.name) for image in each.images), each.prompt, each.target or each.references)
        for each in examples
    ]


def video_texts(items: Iterable[VideoText]) -> list[Hashable]:
    """Videos with a sentence."""
    return [(same_file(str(each.video)), each.text) for each in items]


def same_file(path: str) -> Hashable:
    """What links to a file, hard or symbolic, have in common with it; a name that is no file stands for itself."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino
