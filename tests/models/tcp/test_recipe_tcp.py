"""The recipe of TCP trains as torch's own Adam with an L2 penalty, as the released code does."""

from pathlib import Path

import pytest
import torch

from hf_prompt_models import TCPForImageClassification
from hf_prompt_models.models.tcp.recipe_tcp import RECIPE, Arguments
from hf_prompt_models.recipe_utils import Protocol
from hf_prompt_models.tasks.arguments import recipe_arguments
from hf_prompt_models.training import PromptTrainer
from tests.models.tcp.tested_method import METHOD
from tests.tested_method import image_batch


STEPS, DECAY = 5, 0.3
"""A decay so large that where it is added to matters."""


def trained(backbone: Path, folder: Path, **settings: str) -> TCPForImageClassification:
    """Train with the recipe, each step on the same four images."""
    torch.manual_seed(0)
    model = METHOD.build(backbone)
    inputs = image_batch(model, 4)
    rows = [{name: values[index] for name, values in inputs.items()} for index in range(4)]
    schedule = {"max_steps": STEPS, "lr_scheduler_type": "constant", "save_strategy": "no", "weight_decay": DECAY}
    arguments = recipe_arguments(
        RECIPE.training_defaults(Protocol(shots=16)),
        str(folder),
        **schedule | settings,
        per_device_train_batch_size=4,
        use_cpu=True,
        disable_tqdm=True,
        report_to="none",
    )
    factors = RECIPE.learning_rate_factors(Arguments())
    PromptTrainer(model, arguments, train_dataset=rows, own_schedule=False, learning_rate_factors=factors).train()
    return model


@pytest.mark.parametrize(
    ("settings", "optimizer_class"), [({}, torch.optim.Adam), ({"optim": "adamw_torch"}, torch.optim.AdamW)]
)
def test_the_decay_is_an_l2_penalty_unless_another_optimizer_is_given(
    settings: dict[str, str], optimizer_class: type[torch.optim.Adam], modern_clip: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    expected = METHOD.build(modern_clip).train()
    before = {name: tensor.clone() for name, tensor in expected.prompt_learner.state_dict().items()}
    optimizer = optimizer_class(expected.prompt_learner.parameters(), lr=2e-3, eps=1e-3, weight_decay=DECAY)
    for _ in range(STEPS):
        optimizer.zero_grad()
        expected(**image_batch(expected, 4)).loss.backward()
        optimizer.step()
    found = trained(modern_clip, tmp_path, **settings)
    for name, tensor in expected.prompt_learner.state_dict().items():
        assert (tensor - before[name]).abs().max() > 1e-3  # biases decay, too
        torch.testing.assert_close(found.prompt_learner.state_dict()[name], tensor, rtol=0, atol=1e-5)
