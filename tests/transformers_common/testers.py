"""The model tester that the testers of transformers need, and the base of the test classes."""

import copy
import unittest
from typing import Any, ClassVar

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers_tests.generation.test_utils import GenerationTesterMixin
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin

import hf_prompt_models  # noqa: F401  # registers the methods


class Form:
    """A small model of one kind: its configuration and a batch for it.

    A subclass defines `config` and `inputs`. The numbers below are those of its tower.
    """

    batch_size = 3
    is_training = True
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4
    seq_length = 17
    image_size = 32

    def __init__(self, parent: unittest.TestCase):
        self.parent = parent

    def get_config(self) -> PreTrainedConfig:
        raise NotImplementedError

    def get_inputs(self, config: PreTrainedConfig) -> dict[str, Any]:
        raise NotImplementedError

    def get_labels(self, config: PreTrainedConfig) -> dict[str, Any]:
        """Return the additional inputs that the model needs to return a loss."""
        return {"labels": torch.zeros(self.batch_size, dtype=torch.long)}

    def prepare_config_and_inputs_for_common(self) -> tuple[PreTrainedConfig, dict[str, Any]]:
        config = self.get_config()
        return config, self.get_inputs(config)

    def prepare_config_and_inputs(self) -> tuple[PreTrainedConfig, dict[str, Any]]:
        return self.prepare_config_and_inputs_for_common()


class CommonTests(ModelTesterMixin):
    """transformers' tests of models, and those of configurations."""

    form: ClassVar[type[Form]]
    all_model_classes: ClassVar[tuple[type[PreTrainedModel], ...]]
    config_fields: ClassVar[dict[str, Any]] = {}
    _is_composite = True
    test_resize_embeddings = False
    additional_model_inputs: ClassVar[list[str]] = []
    """What else the model needs, where transformers' tests pass its main input alone."""
    skip_test_image_features_output_shape = True  # their sizes are in another place of the configuration

    def setUp(self) -> None:
        torch.manual_seed(0)
        self.model_tester = self.form(self)
        config_class = self.all_model_classes[0].config_class
        fields = copy.deepcopy(self.config_fields)
        self.config_tester = ConfigTester(self, config_class, has_text_modality=False, **fields)

    def _prepare_for_class(self, inputs_dict: dict, model_class: type, return_labels: bool = False) -> dict:
        inputs = copy.deepcopy(inputs_dict)
        return inputs | self.model_tester.get_labels(self.model_tester.get_config()) if return_labels else inputs

    def _video_features_prepare_config_and_inputs(self) -> tuple[PreTrainedConfig, dict[str, Any]]:
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        return config, {"pixel_values": inputs["pixel_values"]}

    def test_config(self) -> None:
        self.config_tester.run_common_tests()


__all__ = ["CommonTests", "Form", "GenerationTesterMixin"]
