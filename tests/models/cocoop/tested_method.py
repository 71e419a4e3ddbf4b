"""CoCoOp for the common tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from hf_prompt_models import CoCoOpForImageClassification
from tests.tested_method import prompted_clip


PLAIN = prompted_clip(
    CoCoOpForImageClassification,
    ["context", *(f"meta_net.linear{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias"))],
)


def build(backbone: Path, **choices: Any) -> CoCoOpForImageClassification:
    model = PLAIN.build(backbone, **choices)
    # A tiny CLIP's network has one hidden unit. Where random weights keep it at zero, its layer has no gradient.
    nn.init.constant_(model.prompt_learner.meta_net.linear1.bias, 3.0)
    return model


METHOD = replace(PLAIN, build=build)
