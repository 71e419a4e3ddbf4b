"""Folders of models and processors of every method, as published by untrusted users."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoProcessor, PreTrainedModel

from hf_prompt_models import AlproForVideoTextRetrieval
from tests.fuzz.cases import Case, write_json
from tests.models.alpro import little
from tests.tested_method import MethodUnderTest, find_methods


SHIM = """
import pathlib
pathlib.Path(__file__).parent.parent.joinpath("outside", "ran").mkdir()
from hf_prompt_models import *
"""
"""Code in a folder, which nobody has consented to run."""


def alpro(folder: Path) -> Path:
    model = little.lively(AlproForVideoTextRetrieval(little.config()))
    model.processor = little.processor()
    model.save_pretrained(folder)
    return folder


def prepared(method: MethodUnderTest, scope: str, folder: Path) -> None:
    """Save a model in one of the scopes; the backbone of a prompt is in `../backbone`, and is valid."""
    backbone = method.write_backbone(folder.parent / "backbone")
    method.build(backbone).save_pretrained(folder, save_backbone=scope == "full")


def sharded(folder: Path) -> None:
    """Split the weights into two files with an index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / file, {"format": "pt"})
    weight_map = {name: file for file, held in parts.items() for name in held}
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
    (folder / "model.safetensors").unlink()


def with_code(folder: Path) -> None:
    """Add remote code to the folder, which would create a forbidden folder if it were run."""
    (folder / "hub_shim.py").write_text(SHIM, encoding="utf-8")


def write_model(write: Callable[[Path], object], finish: Callable[[Path], object], folder: Path) -> None:
    write(folder)
    finish(folder)
    with_code(folder)


def read_model(auto_class: Any, folder: Path) -> PreTrainedModel:
    return auto_class.from_pretrained(folder)


def read_parts(folder: Path) -> None:
    """The configuration and the processor. Both have to be tried: each may be the damaged one."""
    errors = []
    for auto_class in (AutoConfig, AutoProcessor):
        try:
            auto_class.from_pretrained(folder)
        except (ValueError, OSError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


def nothing(folder: Path) -> None:
    pass


@cache
def make_cases() -> dict[str, Case]:
    writers: dict[str, tuple[Callable[[Path], object], Any]] = {"alpro, full": (alpro, AutoModel)}
    for name, method in find_methods().items():
        if " " in name:  # a variant, which differs in its head alone
            continue
        for scope in ("prompt", "full"):
            writers[f"{name}, {scope}"] = (partial(prepared, method, scope), method.auto_class)
    cases = {}
    for name, (write, auto_class) in writers.items():
        cases[f"model of {name}"] = Case(
            partial(write_model, write, nothing),
            partial(read_model, auto_class),
            ("config.json", "model.safetensors"),
            inherited=True,
        )
        cases[f"config and processor of {name}"] = Case(
            partial(write_model, write, nothing),
            read_parts,
            ("config.json", "processor_config.json"),
            inherited=True,
        )
    cases["model of coop, full, sharded"] = Case(
        partial(write_model, writers["coop, full"][0], sharded),
        partial(read_model, writers["coop, full"][1]),
        ("config.json", "model.safetensors.index.json", "*.safetensors"),
        inherited=True,
    )
    return cases
