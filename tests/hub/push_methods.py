"""Publish models of methods in both scopes, and their backbones, in a program that knows only a local Hub.

The expected results are written to a folder: the inputs and the model outputs for each repository.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from safetensors.torch import save_file
from transformers import PreTrainedModel

from tests.tested_method import find_methods


def push(model: PreTrainedModel, repo_id: str, inputs: dict[str, torch.Tensor], expected: Path, **how: Any) -> None:
    commit = model.push_to_hub(repo_id, **how)
    assert commit.oid == HfApi().model_info(repo_id).sha
    folder = expected / repo_id.rpartition("/")[2]
    folder.mkdir(parents=True)
    save_file(inputs, folder / "inputs.safetensors")
    with torch.no_grad():
        output = model(**inputs)
    save_file(
        {"logits": output.get("logits", output.get("proposal_logits")).contiguous()}, folder / "answer.safetensors"
    )


def push_method(name: str, folder: Path) -> None:
    method, expected = find_methods()[name], folder / "expected"
    local = method.write_backbone(folder / "local" / f"backbone-{name}")
    for each in sorted(local.parent.glob(f"backbone-{name}*")):  # a vision backbone next to it
        HfApi().create_repo(f"user/{each.name}")
        HfApi().upload_folder(repo_id=f"user/{each.name}", folder_path=each)
    model = method.build(Path("user") / local.name)
    assert model.config.base_model_revision == HfApi().model_info(f"user/{local.name}").sha
    inputs = method.batch(model, 2)
    push(model, f"user/{name}-prompt", inputs, expected)
    push(model, f"user/{name}-full", inputs, expected, save_backbone=True)
    model._find_processor().push_to_hub(f"user/{name}-processor")
    if name in ("coop", "mantis"):  # a backbone in a local folder that is on the Hub, too
        model = method.build(local)
        push(model, f"user/{name}-folder", inputs, expected, base_model=f"user/{local.name}")
        assert model.config.base_model_name_or_path == str(local)


def push_complete(name: str, folder: Path) -> None:
    """A method without a borrowed backbone."""
    model, inputs = import_module(f"tests.models.{name}.tested_method").build_complete()
    push(model, f"user/{name}-full", inputs, folder / "expected")
    model.processor.push_to_hub(f"user/{name}-processor")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in sys.argv[2:]:
        (push_method if each in find_methods() else push_complete)(each, Path(sys.argv[1]))
