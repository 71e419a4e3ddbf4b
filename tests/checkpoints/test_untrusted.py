"""Folders from untrusted sources are loaded safely, or refused with a message before any model is built."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageClassification, AutoProcessor

from hf_prompt_models import CoOpConfig, CoOpForImageClassification, CoOpProcessor
from hf_prompt_models.checkpoints.untrusted import MAX_LAYERS, check_config
from tests.models.coop.tested_method import build


@pytest.fixture(scope="module")
def saved(openai_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A full and a prompt-only checkpoint."""
    model = build(openai_clip)
    folders = {full: tmp_path_factory.mktemp("saved") / "coop" for full in (True, False)}
    for full, folder in folders.items():
        model.save_pretrained(folder, save_backbone=full)
    return folders


@pytest.fixture(params=[True, False], ids=["full", "prompt"])
def folder(request: pytest.FixtureRequest, saved: dict[bool, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved[request.param], tmp_path / "coop"))


def change(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(file.read_text())
    how(value)
    file.write_text(json.dumps(value))


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a text for a number": lambda config: config.update(n_ctx="four"),
    "a number out of range": lambda config: config.update(n_ctx=0),
    "a list for a tower": lambda config: config.update(clip_config=[1]),
    "a billion layers": lambda config: config["clip_config"]["text_config"].update(num_hidden_layers=10**9),
    "a billion labels": lambda config: config["clip_config"].update(num_labels=10**9),
    "a type that is no name": lambda config: config.update(dtype=["float32"]),
    "a type that there is not": lambda config: config.update(dtype="os.system"),
    "a kind of tower that is no name": lambda config: config["clip_config"].update(model_type={}),
    "classes that are no dict": lambda config: config.update(id2label=7),
}


@pytest.mark.parametrize("damage", CHANGES)
def test_a_damaged_configuration_is_refused_by_name(damage: str, folder: Path) -> None:
    change(folder / "config.json", CHANGES[damage])
    loaders = (AutoConfig, CoOpConfig, AutoModelForImageClassification, CoOpForImageClassification)
    for loader in loaders:
        with pytest.raises(ValueError, match=r"config\.json of ") as error:
            loader.from_pretrained(folder)
        assert str(folder) in str(error.value)


@pytest.mark.parametrize("content", ["[]", "7", "[" * 100_000, "{"])
def test_a_configuration_that_is_none_is_refused_by_name(content: str, folder: Path) -> None:
    (folder / "config.json").write_text(content)
    for loader in (CoOpConfig, CoOpForImageClassification):
        with pytest.raises((ValueError, OSError), match=str(folder)):
            loader.from_pretrained(folder)


@pytest.mark.parametrize("content", ["[]", "7", "[" * 100_000, '{"image_processor": 7}', '{"image_processor": []}'])
def test_a_damaged_processor_is_refused_by_name(content: str, folder: Path) -> None:
    (folder / "processor_config.json").write_text(content)
    with pytest.raises((ValueError, OSError), match=str(folder)):
        CoOpProcessor.from_pretrained(folder)


@pytest.mark.parametrize("size", [64, 10**9, 10**30])
def test_sizes_that_the_weights_have_not_are_refused_without_memory(size: int, saved: dict, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[True], tmp_path / "coop"))
    change(folder / "config.json", lambda config: config["clip_config"]["text_config"].update(vocab_size=size))
    with pytest.raises(ValueError, match=r"does not match its config|describes|damaged") as error:
        CoOpForImageClassification.from_pretrained(folder)
    assert str(folder) in str(error.value)


def test_weights_that_lack_a_giant_tensor_are_refused_without_memory(saved: dict, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[True], tmp_path / "coop"))
    change(folder / "config.json", lambda config: config["clip_config"]["text_config"].update(vocab_size=10**9))
    tensors = load_file(folder / "model.safetensors")
    del tensors["clip.text_model.embeddings.token_embedding.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks most of the weights that its config\.json describes"):
        CoOpForImageClassification.from_pretrained(folder)


@pytest.mark.parametrize("fingerprint", [{"a": {}}, {"a": 1.5}, {"a": [1]}])
def test_a_damaged_fingerprint_is_refused_by_name(fingerprint: Any, saved: dict, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[False], tmp_path / "coop"))
    change(folder / "config.json", lambda config: config.update(base_model_fingerprint=fingerprint))
    with pytest.raises(ValueError, match=str(folder)):
        CoOpForImageClassification.from_pretrained(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/model.safetensors", "", 7])
def test_an_index_of_weights_stays_in_its_folder(name: Any, saved: dict, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[True], tmp_path / "coop"))
    shutil.move(folder / "model.safetensors", tmp_path / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"prompt_learner.context": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json"):
        CoOpForImageClassification.from_pretrained(folder)


def test_sharded_weights_load_as_whole_ones_do(saved: dict, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_pretrained(saved[True])
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    loaded = CoOpForImageClassification.from_pretrained(tmp_path / "sharded")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


def test_counts_of_layers_are_bounded_wherever_they_stand() -> None:
    check_config({"text_config": {"num_hidden_layers": MAX_LAYERS, "layer_norm_eps": 1e-5, "vocab_size": 10**6}})
    for config in ({"n_layer": MAX_LAYERS + 1}, {"a": [{"depths": [2, MAX_LAYERS + 1]}]}):
        with pytest.raises(ValueError, match="the limit is"):
            check_config(config)


def test_auto_classes_name_a_damaged_processor_too(folder: Path) -> None:
    change(folder / "processor_config.json", lambda config: config.update(image_processor=7))
    with pytest.raises((ValueError, OSError), match=str(folder)):
        AutoProcessor.from_pretrained(folder)


def test_a_name_with_a_number_of_ten_thousand_digits_is_refused(saved: dict, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[True], tmp_path / "coop"))
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "layers." + "1" * 10_000: torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"coop.*name of 10007 characters"):
        CoOpForImageClassification.from_pretrained(folder)


def test_a_backbone_whose_name_is_none_is_refused_by_the_folder_that_names_it(saved: dict, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[False], tmp_path / "coop"))
    change(folder / "config.json", lambda config: config.update(base_model_name_or_path="32 x 32"))
    with pytest.raises(OSError, match=r"coop.*'32 x 32'"):
        CoOpForImageClassification.from_pretrained(folder)
