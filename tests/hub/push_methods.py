"""Run as a program that knows a local Hub alone: publishes models of all methods and both scopes, and their backbones.

What strangers should see is written to a folder: for each repository its inputs and what the model says of them.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from safetensors.torch import save_file
from transformers import PreTrainedModel

from hf_prompt_models import AlproForVideoQuestionAnswering
from hf_prompt_models.models import METHODS
from tests.models.alpro import little
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
    for each in sorted(local.parent.glob(f"backbone-{name}*")):  # a vision backbone beside it
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


def push_alpro(folder: Path) -> None:
    answers = {0: "dog", 1: "red ball", 2: "two"}
    config = little.config(id2label=answers, label2id={name: index for index, name in answers.items()})
    model = little.lively(AlproForVideoQuestionAnswering(config))
    model.processor = little.processor()
    inputs = {"pixel_values": little.videos(2).float(), **little.texts(2)}
    push(model, "user/alpro-full", inputs, folder / "expected")
    model.processor.push_to_hub("user/alpro-processor")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for each in METHODS:
        if each == "alpro":  # it has no backbone of its own
            push_alpro(Path(sys.argv[1]))
        else:
            push_method(each, Path(sys.argv[1]))
