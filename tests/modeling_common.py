"""Fixtures for the tests of every registered method: each method in turn, its backbone, a model, and checkpoints.

The fixtures are created once for each file that imports them.
"""

import hashlib
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from hf_prompt_models.models import PACKAGES
from tests.tested_method import MethodUnderTest, few_by_default, find_methods


SCOPES = ("prompt", "full")
TESTED = find_methods()
VARIANT = (pytest.mark.variant, pytest.mark.slow)
FORMS = [
    each
    for name in TESTED
    for each in (few_by_default([name]) if name in PACKAGES else [pytest.param(name, marks=VARIANT)])
]


@pytest.fixture(scope="module", params=FORMS)
def method(request: pytest.FixtureRequest) -> MethodUnderTest:
    return TESTED[request.param]


@pytest.fixture(scope="module")
def learning(method: MethodUnderTest) -> MethodUnderTest:
    if not method.learned:
        pytest.skip("nothing is learned")
    return method


@pytest.fixture(scope="module")
def backbone(method: MethodUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return method.write_backbone(tmp_path_factory.mktemp("hub") / "backbone")


@pytest.fixture(scope="module")
def built(method: MethodUnderTest, backbone: Path) -> PreTrainedModel:
    """A model for tests that do not change it."""
    return method.build(backbone)


@pytest.fixture(scope="module")
def batch(method: MethodUnderTest, built: PreTrainedModel) -> dict[str, torch.Tensor]:
    return method.batch(built, 4)


@pytest.fixture(scope="module")
def folders(built: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved checkpoint of each scope."""
    saved = {scope: tmp_path_factory.mktemp("saved") / scope for scope in SCOPES}
    for scope, folder in saved.items():
        built.save_pretrained(folder, save_backbone=scope == "full")
    return saved


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**batch)[TESTED[type(model)._method()].logits_name]


def trainable(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def digest(model: PreTrainedModel) -> str:
    """Of the backbone's bytes."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        total.update(name.encode() + tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def weights(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.suffix in (".safetensors", ".bin", ".pt")}
