"""Model cards: metadata and results of a checkpoint, added to the text in `model_cards/<method>.md`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from hf_prompt_models.utils.files import replacing


CARD_FILE = "README.md"
PLACEHOLDER_ID = "user/repository"
"""The repository in the code of a card as long as the actual one is unknown."""
GENERATED = (
    "<!-- Written by hf_prompt_models. Take this line out, and your text stays when the model is pushed again. -->"
)
GENERATED_BY_TRANSFORMERS = ("has been generated automatically according to", "has been automatically generated")
RUN_TITLE = "## Training and results"
LICENSE = "apache-2.0"
"""Default licence of learned tensors: the licence of this package."""
MAX_SHOWN_NAMES = 20
# A wheel has the texts in the package; a checkout has them next to src/.
_TEXTS = (Path(__file__).parents[1] / "model_cards", Path(__file__).parents[3] / "model_cards")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint contains.

    Attributes:
        method: name of the method's folder, such as `"coop"`.
        class_name: name of the model class.
        pipeline_tag: the task of the pipeline that runs the model, or `None`.
        scope: whether the weights are only the learned tensors, or also the backbone.
        num_learned: number of learned or trainable parameters.
        base_model: Hub id of the backbone, if it is on the Hub.
        base_model_revision: commit of the backbone.
        local_base: name of the backbone if it is not on the Hub.
        class_names: the class names of a classifier.
        has_updates: whether the checkpoint also has LoRA updates of the backbone.
        is_packaged: whether the backbone is the tiny one that ships with this package.
        text: text of the card; "" means the one in `model_cards/<method>.md`.
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
    """What the card of a model reports about its training run.

    Attributes:
        text: protocol and results, as Markdown that begins with `RUN_TITLE`.
        eval_results: results for the model-index of the card.
        datasets: Hub ids of the training datasets that are on the Hub.
        base_model: Hub id or ids of the model that training started from, if the trained model no longer names it.
    """

    text: str
    eval_results: list[EvalResult] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    base_model: str | list[str] | None = None

    @classmethod
    def from_card(cls, card: ModelCard) -> Self | None:
        """Return what a card of `make_card` reports about a run, or `None` if it reports nothing."""
        found = re.search(rf"^{RUN_TITLE}$.*?(?=^## )", card.text, re.MULTILINE | re.DOTALL)
        if found is None:
            return None
        data: Any = card.data
        return cls(found[0].rstrip(), data.eval_results or [], data.get("datasets", []), data.get("base_model"))


def card_text(method: str) -> str:
    """Return the text of the card of a method.

    Raises:
        FileNotFoundError: if the method has no card.
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
    """Return the model card of a checkpoint.

    Args:
        checkpoint: what the checkpoint contains.
        repo_id: repository on the Hub.
        run: the training run, if known.
        license: licence of the weights. Default: the licence of this package for learned tensors, `"other"` for
            weights with the backbone.
        tags: tags in addition to those of the method.
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
    """Return whether the text of a card was generated and not edited, so that it may be overwritten."""
    return any(mark in card.text for mark in (GENERATED, *GENERATED_BY_TRANSFORMERS))


def read_card(file: Path) -> ModelCard | None:
    """Read a card. Return `None` if there is no such file."""
    return ModelCard(file.read_text(encoding="utf-8")) if file.is_file() else None


def write_card(card: ModelCard, file: Path) -> None:
    """Write a card to a temporary file and move it into place."""
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
    """Return a text that fits on one line and in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")[:limit]
