"""Model cards: what a checkpoint is and what its training measured, around the text in `model_cards/<method>.md`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hf_prompt_models.utils.files import replacing


CARD_FILE = "README.md"
PLACEHOLDER_ID = "user/repository"
"""Stands in a card's code where the repository is not known yet."""
GENERATED = (
    "<!-- Written by hf_prompt_models. Take this line out, and your text stays when the model is pushed again. -->"
)
GENERATED_BY_TRANSFORMERS = ("has been generated automatically according to", "has been automatically generated")
RUN_TITLE = "## Training and results"
LICENSE = "apache-2.0"
"""Of learned tensors, where their author says nothing else: this package's own."""
MAX_SHOWN_NAMES = 20
# A wheel holds the texts in the package; in a checkout they lie beside src/.
_TEXTS = (Path(__file__).parents[1] / "model_cards", Path(__file__).parents[3] / "model_cards")


@dataclass(frozen=True)
class Checkpoint:
    """
    What is in a checkpoint.

    Attributes:
        method: the method's folder, such as `"coop"`.
        class_name: of the model.
        pipeline_tag: the task whose pipeline runs it, or `None`.
        scope: whether the weights are the learned tensors alone, or the backbone too.
        num_learned: how many numbers were learned, or may be.
        base_model: Hub id of the backbone, where it is there.
        base_model_revision: its commit.
        local_base: what the backbone is called, where it is not on the Hub.
        class_names: what is told apart, of a classifier.
        has_updates: whether low-rank updates of the backbone's weights are beside what was learned.
        is_packaged: whether the backbone is the tiny one that ships with this package.
        text: for the card; "" is the one of `model_cards/<method>.md`.
    """

    method: str
    class_name: str
    pipeline_tag: str | None
    scope: Literal["prompt", "full"]
    num_learned: int
    base_model: str | None = None
    base_model_revision: str | None = None
    class_names: Sequence[str] = ()
    has_updates: bool = False
    is_packaged: bool = False
    local_base: str | None = None
    text: str = ""


@dataclass(frozen=True)
class RunOnCard:
    """
    What a training run says on the card of a model that came out of it.

    Attributes:
        text: protocol and results, Markdown that begins with `RUN_TITLE`.
        eval_results: for the card's model-index.
        datasets: Hub ids of what was trained on, where they are there.
        base_model: Hub id, or ids, of what was started from, where a tuned model no longer names it.
    """

    text: str
    eval_results: list[EvalResult] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    base_model: str | list[str] | None = None

    @classmethod
    def from_card(cls, card: ModelCard) -> Self | None:
        """What a card that `make_card` made says of a run; `None` where it says nothing."""
        found = re.search(rf"^{RUN_TITLE}$.*?(?=^## )", card.text, re.MULTILINE | re.DOTALL)
        if found is None:
            return None
        data: Any = card.data
        return cls(found[0].rstrip(), data.eval_results or [], data.get("datasets", []), data.get("base_model"))


def card_text(method: str) -> str:
    """The text of a method's card.

    Raises:
        FileNotFoundError: if it has none.
    """
    for folder in _TEXTS:
        if (folder / f"{method}.md").is_file():
            return (folder / f"{method}.md").read_text(encoding="utf-8").strip()
    raise FileNotFoundError(f"There is no model_cards/{method}.md: write the text of this method's model cards there.")


def make_card(
    checkpoint: Checkpoint,
    repo_id: str = PLACEHOLDER_ID,
    run: RunOnCard | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
) -> ModelCard:
    """A checkpoint's card.

    Args:
        checkpoint: what it is.
        repo_id: where it is published.
        run: what it came out of.
        license: of the weights. Default: this package's for learned tensors, `"other"` where they hold the backbone.
        tags: besides the method's.
    """
    base_model = checkpoint.base_model or (run.base_model if run else None)
    relation = "adapter" if checkpoint.scope == "prompt" else "finetune"
    license = license or (LICENSE if checkpoint.scope == "prompt" else "other")
    name = repo_id.rpartition("/")[2]
    data = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag=checkpoint.pipeline_tag,
        base_model=base_model,
        tags=["hf_prompt_models", checkpoint.method, "prompt-learning", *tags],
        datasets=(run.datasets or None) if run else None,
        metrics=sorted({result.metric_type for result in run.eval_results}) or None if run else None,
        model_name=name if run and run.eval_results else None,
        eval_results=run.eval_results or None if run else None,
        base_model_relation=relation if base_model else None,
    )
    lead, _, rest = (checkpoint.text or card_text(checkpoint.method)).partition("\n\n")
    parts = [
        f"---\n{data.to_yaml()}\n---\n{GENERATED}",
        f"# {name}" if repo_id != PLACEHOLDER_ID else f"# {checkpoint.class_name}",
        lead,
        _about(checkpoint),
        *([run.text] if run else []),
        rest.replace(PLACEHOLDER_ID, repo_id),
        f"## Licence\n\n{_licence(checkpoint, license)}",
    ]
    return ModelCard("\n\n".join(parts) + "\n")


def is_generated(card: ModelCard) -> bool:
    """Whether nobody has made a card's text their own, so that it may be written anew."""
    return any(mark in card.text for mark in (GENERATED, *GENERATED_BY_TRANSFORMERS))


def read_card(file: Path) -> ModelCard | None:
    """A card, or `None` where there is no such file."""
    return ModelCard(file.read_text(encoding="utf-8")) if file.is_file() else None


def write_card(card: ModelCard, file: Path) -> None:
    """Write a card beside an earlier one and move it into its place."""
    with replacing(file) as beside:
        card.save(beside)


def _about(checkpoint: Checkpoint) -> str:
    own = "its own repository" if checkpoint.base_model else "the place that the configuration names"
    place = "ships with `hf_prompt_models`" if checkpoint.is_packaged else f"is loaded from {own}"
    held = {
        "prompt": f"what was learned alone; the backbone {place}",
        "full": "the whole model, with its backbone; nothing else is loaded",
    }
    learned = f"{checkpoint.num_learned:,} numbers were learned." if checkpoint.num_learned else "Nothing was learned."
    lines = [
        f"- **Class**: `{checkpoint.class_name}`",
        f"- **Weights**: {held[checkpoint.scope]}. {learned}",
    ]
    if checkpoint.base_model:
        commit = f" at commit `{checkpoint.base_model_revision}`" if checkpoint.base_model_revision else ""
        link = f"[{checkpoint.base_model}](https://huggingface.co/{checkpoint.base_model})"
        lines.append(f"- **Backbone**: {link}{commit}")
    elif checkpoint.local_base and not checkpoint.is_packaged:
        lines.append(f"- **Backbone**: {one_line(checkpoint.local_base)}, which is not on the Hub")
    if checkpoint.has_updates:
        lines.append("- **Low-rank updates** (LoRA) of the backbone, in `lora/`: loading adds them to its weights.")
    if checkpoint.class_names:
        shown = ", ".join(one_line(name) for name in checkpoint.class_names[:MAX_SHOWN_NAMES])
        more = ", …" if len(checkpoint.class_names) > MAX_SHOWN_NAMES else ""
        title = "Answers" if checkpoint.pipeline_tag == "video-question-answering" else "Classes"
        lines.append(f"- **{title}**: {len(checkpoint.class_names)}: {shown}{more}")
    return "\n".join(["## This checkpoint", "", *lines])


def _licence(checkpoint: Checkpoint, license: str) -> str:
    if checkpoint.scope == "prompt":
        return (
            f"The learned tensors: {license}. The backbone, which is not in this repository, and the data that was "
            "learned from keep their own licences."
        )
    return (
        f"Licence of the weights: {license}. They hold the backbone, whose own licence applies to them; so does that "
        "of the data that was learned from."
    )


def one_line(text: str, limit: int = 80) -> str:
    """Text that stays in its line, and in its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")[:limit]
