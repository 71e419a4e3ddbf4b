"""The rule of ProGrad over processes: two of them have the gradients of one with the joined batch.

Gradients are averaged before the rule, which is not linear, so averages of gradients after the rule are other numbers.
"""

from pathlib import Path

import torch
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from hf_prompt_models import ProGradForImageClassification
from tests.models.prograd.tested_method import METHOD
from tests.programs import run_two
from tests.tested_method import image_batch


MICRO_BATCHES = (slice(0, 4), slice(4, 8))
"""Of both processes together; each process has one half of each."""


def model_and_images(backbone: Path) -> tuple[ProGradForImageClassification, torch.Tensor, torch.Tensor]:
    """A model, images and labels; those of the later images contradict the teacher, the first two do not."""
    torch.manual_seed(0)
    model = METHOD.build(backbone).double().train()
    torch.nn.init.zeros_(model.clip.logit_scale)  # where a softmax is sure, gradients vanish
    pixels = image_batch(model, 8)["pixel_values"].double()
    labels = torch.tensor([0, 0, 2, 2, 2, 2, 2, 2])
    return model, pixels, labels


def plain_gradients(
    model: ProGradForImageClassification, pixels: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of the cross-entropy and of the divergence, each on its own."""
    context = model.prompt_learner.context
    logits = model(pixels).logits
    image_embeds = model.get_image_features(pixels).pooler_output
    teacher = model.class_logits(image_embeds, model.get_teacher_features()).softmax(dim=-1)
    (of_labels,) = torch.autograd.grad(F.cross_entropy(logits, labels), context, retain_graph=True)
    (of_teacher,) = torch.autograd.grad(F.cross_entropy(logits, teacher), context)
    return of_labels, of_teacher


def ruled(of_labels: torch.Tensor, of_teacher: torch.Tensor) -> torch.Tensor:
    """The formula of the paper."""
    direction = of_teacher / of_teacher.norm()
    product = (of_labels * direction).sum()
    return of_labels - product * direction if product < 0 else of_labels


def save_one_of_two(rank: int, folder: Path, backbone: Path) -> None:
    model, pixels, labels = model_and_images(backbone)
    caller, context = DistributedDataParallel(model), model.prompt_learner.context
    halves = [slice(each.start + 2 * rank, each.start + 2 * rank + 2) for each in MICRO_BATCHES]
    caller(pixels[halves[0]], labels=labels[halves[0]]).loss.backward()
    gradients = {"alone": context.grad.clone()}
    context.grad = None
    with caller.no_sync():  # as the Trainer does until the last micro-batch of a step
        caller(pixels[halves[0]], labels=labels[halves[0]]).loss.backward()
    caller(pixels[halves[1]], labels=labels[halves[1]]).loss.backward()
    gradients["accumulated"] = context.grad
    torch.save(gradients, folder / f"{rank}.pt")


def test_conflicting_gradients_are_averaged_before_the_rule(openai_clip: Path, tmp_path: Path) -> None:
    model, pixels, labels = model_and_images(openai_clip)
    expected, plain = [], []
    for each in MICRO_BATCHES:
        middle = each.start + 2
        joined = plain_gradients(model, pixels[each], labels[each])
        halves = [
            plain_gradients(model, pixels[rows], labels[rows])
            for rows in (slice(each.start, middle), slice(middle, each.stop))
        ]
        conflicts = [bool((first * second).sum() < 0) for first, second in (joined, *halves)]
        assert conflicts[0]
        assert True in conflicts[1:]
        after = torch.stack([ruled(*half) for half in halves]).mean(dim=0)
        assert (after - ruled(*joined)).norm() > 0.1 * ruled(*joined).norm()  # the order matters
        expected.append(ruled(*joined))
        plain.append(torch.stack(joined))
    total = ruled(*sum(plain))
    assert (total - sum(expected)).norm() > 0.1 * total.norm()  # and so does the rule of each micro-batch

    run_two(save_one_of_two, tmp_path, openai_clip)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found["alone"], expected[0], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(found["accumulated"], sum(expected), rtol=1e-6, atol=1e-9)
