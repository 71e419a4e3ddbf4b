"""Checkpoints as saved by the original CoOp code, with the pickled objects of its schedulers."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import AutoModel, CLIPTokenizer


@contextmanager
def _dassl() -> Iterator[type]:
    """A scheduler class of Dassl's module and name, importable inside the block alone."""

    class ConstantWarmupScheduler(torch.optim.lr_scheduler.LRScheduler):
        def __init__(self, optimizer: torch.optim.Optimizer, successor: Any):
            self.successor = successor
            super().__init__(optimizer)

        def get_lr(self) -> list[float]:
            return [1e-5]

    names = ("dassl", "dassl.optim", "dassl.optim.lr_scheduler")
    ConstantWarmupScheduler.__module__, ConstantWarmupScheduler.__qualname__ = names[-1], "ConstantWarmupScheduler"
    for name in names:
        sys.modules[name] = ModuleType(name)
    sys.modules[names[-1]].ConstantWarmupScheduler = ConstantWarmupScheduler  # type: ignore[attr-defined]
    try:
        yield ConstantWarmupScheduler
    finally:
        for name in names:
            del sys.modules[name]


def original_buffers(
    backbone: Path, names: Sequence[str], n_ctx: int, words: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`token_prefix` and `token_suffix` as views into the embedded prompts, padded with 0 as OpenAI does."""
    clip, tokenizer = AutoModel.from_pretrained(backbone), CLIPTokenizer.from_pretrained(backbone)
    placeholder = " ".join(["x"] * n_ctx) if words is None else words
    rows = []
    for name in names:
        ids = tokenizer(placeholder + " " + name.replace("_", " ") + ".")["input_ids"]
        rows.append(ids + [0] * (77 - len(ids)))
    embedded = clip.text_model.embeddings.token_embedding(torch.tensor(rows)).detach()
    return embedded[:, :1], embedded[:, 1 + n_ctx :]


def write_original(
    run: Path,
    backbone: Path,
    names: Sequence[str],
    context: torch.Tensor,
    epoch: int = 50,
    words: str | None = None,
    **changes: Any,
) -> Path:
    """Write `<run>/prompt_learner/model.pth.tar-<epoch>`, and `checkpoint`, which names it.

    Args:
        run: folder of the run.
        backbone: backbone of the prompt.
        names: class names.
        context: `ctx`, in the dtype of training.
        epoch: epoch in the file name.
        words: initial words of the context, if it was initialised from words.
        changes: entries that replace those of the state dict; `None` removes an entry.
    """
    prefix, suffix = original_buffers(backbone, names, context.shape[-2], words)
    buffers = {"token_prefix": prefix.to(context.dtype), "token_suffix": suffix.to(context.dtype)}
    parameter = torch.nn.Parameter(context.clone())
    optimizer = torch.optim.SGD([parameter], lr=0.002, momentum=0.9, weight_decay=5e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with _dassl() as scheduler_class:
        scheduler = scheduler_class(optimizer, cosine)
        scheduler.nested = scheduler_class(optimizer, cosine)
        state = {"ctx": context, **buffers, **changes}
        content = {
            "state_dict": {name: tensor for name, tensor in state.items() if tensor is not None},
            "epoch": epoch,
            "optimizer": optimizer.state_dict(),
            "scheduler": {name: value for name, value in vars(scheduler).items() if name != "optimizer"},
            "val_result": 81.25,
        }
        folder = run / "prompt_learner"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(content, folder / f"model.pth.tar-{epoch}")
    (folder / "checkpoint").write_text(f"model.pth.tar-{epoch}\n")
    return folder / f"model.pth.tar-{epoch}"
