"""ALPRO for the common tests: it has no pretrained backbone and is fully trained; see also `test_saving.py`."""

import torch
from transformers import PreTrainedModel

from hf_prompt_models import AlproForVideoQuestionAnswering
from tests.models.alpro import little


METHOD = None


def build_complete() -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
    """A model with its processor, and inputs of unlike lengths."""
    answers = {0: "dog", 1: "red ball", 2: "two"}
    config = little.config(id2label=answers, label2id={name: index for index, name in answers.items()})
    model = little.lively(AlproForVideoQuestionAnswering(config))
    model.processor = little.processor()
    return model, {"pixel_values": little.videos(2).float(), **little.texts(2)}
