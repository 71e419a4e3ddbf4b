"""Prompts of the original codes: trained tensors are converted, untrained ones reported, and all others refused."""

from argparse import Namespace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, CLIPModel

from tests.test_prompted_clips import CASES, NAMES, build, folder


Tensors = dict[str, torch.Tensor]
assert folder  # the fixture


def layered(prefix: str, tensor: torch.Tensor, suffix: str = "") -> Tensors:
    return {f"{prefix}{index}{suffix}": each for index, each in enumerate(tensor)}


def blocks(tower: str, tensor: torch.Tensor) -> Tensors:
    return {f"{tower}_encoder.transformer.resblocks.{index}.VPT_shallow": each for index, each in enumerate(tensor, 1)}


def original(case: str, tensors: Tensors) -> Tensors:
    """What the released trainers register, under their names."""
    if case in ("kgcoop", "prograd", "cocoop", "tcp"):
        return {name.replace("context", "ctx"): tensor for name, tensor in tensors.items()}
    if case == "maple":
        found = {"prompt_learner.ctx": tensors["context"]}
        found |= layered("prompt_learner.compound_prompts_text.", tensors["deep_context"])
        for name in ("weight", "bias"):
            found[f"prompt_learner.proj.{name}"] = tensors[f"projections.0.{name}"]
            for layer in (0, 1):
                ours = tensors[f"projections.{layer + 1}.{name}"]
                found[f"prompt_learner.compound_prompt_projections.{layer}.{name}"] = ours
        return found
    if case == "mmrl":
        before = "representation_learner.compound_rep_tokens"
        found = {before: tensors["representation"]}
        found["image_encoder.proj_rep"] = tensors["representation_projection.weight"].T
        for name, tensor in tensors.items():
            for ours, theirs in (("text_projections", "r2tproj"), ("vision_projections", "r2vproj")):
                if name.startswith(ours):
                    found[f"{before}_{theirs}{name.removeprefix(ours)}"] = tensor
        return found
    found = {}
    if "context" in tensors:
        found |= {"prompt_learner.ctx": tensors["context"]} | blocks("text", tensors.get("deep_context", ()))
    if "vision_context" in tensors:
        found |= {"image_encoder.VPT": tensors["vision_context"]}
        found |= blocks("image", tensors.get("deep_vision_context", ()))
    return found


def surplus(clip: CLIPModel) -> Tensors:
    """Copies of CLIP's weights and of embeddings, which the files hold too."""
    embeddings = clip.text_model.embeddings.token_embedding.weight.detach()
    start = embeddings[-2].expand(2, 1, -1).clone()
    return {
        "prompt_learner.token_prefix": start,
        "prompt_learner.token_suffix": torch.zeros(2, 72, embeddings.shape[1]),
        "image_encoder.conv1.weight": torch.zeros(2, 2),
        "text_encoder.ln_final.weight": torch.zeros(2),
        "logit_scale": torch.zeros(()),
    }


def write(file: Path, state: Tensors) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().half().clone() for name, tensor in state.items()}
    torch.save({"state_dict": state, "epoch": 5, "optimizer": None}, file)
    return file


def convert(case: str, checkpoint: Path, backbone: Path, output: Path) -> list[str]:
    method, choices = conversion(case)
    names = output.parent / "names.txt"
    names.write_text("\n".join(NAMES), encoding="utf-8")
    given = {"checkpoint": checkpoint, "backbone": backbone, "class_names": names, "output_dir": output, "epoch": None}
    return import_module(f"hf_prompt_models.models.{method}.convert_{method}").convert(Namespace(**given, **choices))


def conversion(case: str) -> tuple[str, dict[str, Any]]:
    """The method, and the flags for what its files do not hold."""
    model_class, arguments, _ = CASES[case]
    flags = {
        "kgcoop": ("templates",),
        "prograd": ("templates",),
        "promptsrc": ("templates",),
        "tcp": ("templates", "class_token_layer", "prompt_template"),
        "mmrl": ("templates", "alpha", "first_layer"),
    }
    method = model_class.__module__.split(".")[2]
    return method, {name: arguments.get(name) for name in flags.get(method, ())}


@pytest.mark.parametrize("case", [case for case in CASES if case != "maple, shallow"])
def test_a_converted_prompt_is_the_original(case: str, folder: Path, tmp_path: Path) -> None:
    model = build(folder, case)
    with torch.no_grad():
        for parameter in model.prompt_learner.parameters():
            parameter.copy_(parameter.half())
    tensors = dict(model.prompt_learner.named_parameters())
    state = original(case, tensors) | surplus(model.clip)
    file = write(tmp_path / "run" / "any" / "model.pth.tar-5", state)
    report = convert(case, file, folder, tmp_path / "converted")

    converted = AutoModelForImageClassification.from_pretrained(tmp_path / "converted")
    assert type(converted) is type(model)
    own = dict(converted.prompt_learner.named_parameters())
    assert own.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(own[name], tensor), name
    pixels = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        logits = converted(pixel_values=pixels).logits
        if case not in ("kgcoop", "prograd"):  # theirs start from words, of which some stay frozen
            torch.testing.assert_close(logits, model.eval()(pixel_values=pixels).logits, rtol=1e-4, atol=1e-4)
    text = "\n".join(report)
    assert "epoch 5" in text
    for left in ("prompt_learner.token_prefix", "prompt_learner.token_suffix", "image_encoder", "logit_scale"):
        assert f"left out: 1 of {left}" in text
    assert "left out: optimizer" in text


def test_a_file_of_another_method_is_refused(folder: Path, tmp_path: Path) -> None:
    state = original("kgcoop", dict(build(folder, "kgcoop").prompt_learner.named_parameters()))
    file = write(tmp_path / "model.pth.tar-5", state)
    with pytest.raises(ValueError, match=r"contains no 'prompt_learner.ctx'.*It contains ctx"):
        convert("maple", file, folder, tmp_path / "converted")
    with pytest.raises(ValueError, match="contains no prompts"):
        convert("ivlp", file, folder, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_a_prompt_of_another_width_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    state = original("cocoop", dict(build(folder, "cocoop").prompt_learner.named_parameters()))
    state["meta_net.linear1.weight"] = torch.zeros(1, 7)
    file = write(tmp_path / "model.pth.tar-5", state)
    with pytest.raises(ValueError, match=r"meta_net.linear1.weight .* has the shape \(1, 7\)"):
        convert("cocoop", file, folder, tmp_path / "converted")


def test_a_prompt_for_another_backbone_is_refused(folder: Path, other_clip: Path, tmp_path: Path) -> None:
    model = build(folder, "kgcoop")
    state = original("kgcoop", dict(model.prompt_learner.named_parameters())) | surplus(model.clip)
    file = write(tmp_path / "model.pth.tar-5", state)
    with pytest.raises(ValueError, match="trained with another backbone"):
        convert("kgcoop", file, other_clip, tmp_path / "converted")


def test_a_diverged_prompt_is_refused(folder: Path, tmp_path: Path) -> None:
    state = {"ctx": torch.full((4, 32), float("nan"))}
    file = write(tmp_path / "model.pth.tar-5", state)
    with pytest.raises(ValueError, match=r"'ctx' .* no finite"):
        convert("kgcoop", file, folder, tmp_path / "converted")
