"""Contrastive and matching losses of two processes equal those of one process with the complete batch."""

from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from hf_prompt_models import AlproForPreTraining
from hf_prompt_models.utils.distributed import pad_alike
from tests.models.alpro import little
from tests.programs import run_two


def batch(rows: slice) -> dict[str, torch.Tensor]:
    """Some of six examples; texts are no longer than the longest of them."""
    texts = little.texts(6)
    order = texts["attention_mask"].sum(dim=1).argsort()  # so that the processes' longest differ
    mask = texts["attention_mask"][order][rows]
    length = int(mask.sum(dim=1).max())
    return {
        "pixel_values": little.videos(6)[rows],
        "input_ids": texts["input_ids"][order][rows, :length],
        "attention_mask": mask[:, :length],
    }


def losses(rows: slice, wrap: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = little.lively(AlproForPreTraining(little.config(num_entities=0))).double().train()
    caller = DistributedDataParallel(model, find_unused_parameters=True) if wrap else model
    torch.manual_seed(4)  # for the sampling of negatives
    output = caller(**batch(rows))
    output.loss.backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {"vtc": output.vtc_loss.detach(), "vtm": output.vtm_loss.detach(), **gradients}


def save_one_of_two(rank: int, folder: Path) -> None:
    torch.save(losses(slice(3 * rank, 3 * rank + 3), wrap=True), folder / f"{rank}.pt")
    try:
        pad_alike(torch.zeros(2 + rank, 3))
    except ValueError as error:
        (folder / f"{rank}.txt").write_text(str(error))


@pytest.mark.slow
def test_two_processes_have_the_losses_and_gradients_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    lengths = {batch(slice(start, start + 3))["input_ids"].shape[1] for start in (0, 3)}
    assert len(lengths) == 2
    run_two(save_one_of_two, tmp_path)
    expected = losses(slice(0, 6), wrap=False)
    assert {"alpro.temperature", "vtm_head.weight", "alpro.video_projection.weight"} <= set(expected)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        # Those that no loss reaches get zeros from DDP.
        found = {name: each for name, each in found.items() if name in expected or each.any()}
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
        assert "[2, 3] examples" in (tmp_path / f"{rank}.txt").read_text()
