"""Training and evaluation with the Hugging Face Trainer."""

from typing import TYPE_CHECKING

from hf_prompt_models.utils.lazy import lazy_names


if TYPE_CHECKING:
    from hf_prompt_models.lora import add_lora as add_lora
    from hf_prompt_models.lora import save_with_lora as save_with_lora
    from hf_prompt_models.prefix_lm.collators import TrainingCollator as TrainingCollator
    from hf_prompt_models.training.trainer import PromptTrainer as PromptTrainer


_MODULES = {
    "PromptTrainer": "hf_prompt_models.training.trainer",
    "TrainingCollator": "hf_prompt_models.prefix_lm.collators",
    "add_lora": "hf_prompt_models.lora",
    "save_with_lora": "hf_prompt_models.lora",
}

__all__ = list(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
