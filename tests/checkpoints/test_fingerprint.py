"""Fingerprints distinguish a copy of a backbone from another backbone."""

from collections.abc import Callable

import pytest
import torch

from hf_prompt_models.checkpoints.fingerprint import check_fingerprint, compute_fingerprint, value_marks


NAMES = ("norm.weight", "projection.weight")


def weights(seed: int = 0, width: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "norm.weight": 1 + 0.1 * torch.randn(width, generator=generator),
        "projection.weight": 0.02 * torch.randn(24, width, generator=generator),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("trained_on", [torch.float32, torch.bfloat16, torch.float16])
def test_copies_in_other_precisions_pass(trained_on: torch.dtype, dtype: torch.dtype) -> None:
    fingerprint = compute_fingerprint({name: tensor.to(trained_on) for name, tensor in weights().items()}, NAMES)
    check_fingerprint({name: tensor.to(dtype) for name, tensor in weights().items()}, fingerprint, "base", "prompt")


def test_it_is_a_few_values_of_each_tensor() -> None:
    fingerprint = compute_fingerprint(weights(), NAMES)
    assert set(fingerprint) == set(NAMES)
    assert fingerprint["projection.weight"]["shape"] == "24 x 40"
    values = [float(value) for value in fingerprint["projection.weight"]["values"].split()]
    assert len(values) == 16
    row = weights()["projection.weight"][0].tolist()
    assert values[0] == pytest.approx(row[0], rel=1e-4)
    assert values[-1] == pytest.approx(row[-1], rel=1e-4)


@pytest.mark.parametrize("width", [1, 5])
def test_tensors_shorter_than_the_sample_have_one_too(width: int) -> None:
    check_fingerprint(weights(width=width), compute_fingerprint(weights(width=width), NAMES), "base", "prompt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: weights(seed=1), "another backbone"),
        (lambda state: weights(width=64), "64"),
        (lambda state: state | {"projection.weight": -state["projection.weight"]}, "projection.weight"),
        (lambda state: state | {"projection.weight": 1.02 * state["projection.weight"]}, "projection.weight"),
        (lambda state: {"norm.weight": state["norm.weight"]}, "missing"),
    ],
)
def test_another_backbone_is_refused_with_the_way_out(change: Callable, said: str) -> None:
    fingerprint = compute_fingerprint(weights(), NAMES)
    with pytest.raises(ValueError, match=said) as error:
        check_fingerprint(change(weights()), fingerprint, "the-base", "the-prompt")
    for part in ("the-base", "the-prompt", "base_model_name_or_path="):
        assert part in str(error.value)


def test_two_backbones_without_any_values_differ_by_nothing() -> None:
    """Weights of exactly zero or one, as after initialisation, are distinguished by the other tensors."""
    zero = {"norm.weight": torch.ones(40), "projection.weight": torch.zeros(24, 40)}
    fingerprint = compute_fingerprint(zero, NAMES)
    check_fingerprint(zero, fingerprint, "base", "prompt")
    with pytest.raises(ValueError, match=r"projection\.weight"):
        check_fingerprint(zero | {"projection.weight": weights()["projection.weight"]}, fingerprint, "base", "prompt")


def _write_one_value_behind_its_back(tensor: torch.Tensor) -> None:
    tensor.data[7, 300] += 0.01


def _write_one_value(tensor: torch.Tensor) -> None:
    tensor[7, 300] = torch.nextafter(tensor[7, 300], torch.tensor(1, dtype=tensor.dtype))


def _swap_columns_behind_its_back(tensor: torch.Tensor) -> None:
    tensor.data.copy_(tensor.data.roll(1, 1))


def _swap_rows_behind_its_back(tensor: torch.Tensor) -> None:
    tensor.data.copy_(tensor.data.flip(0))


def _exchange_two_values_behind_its_back(tensor: torch.Tensor) -> None:
    tensor.data[3, [5, 6]] = tensor.data[3, [6, 5]]


@pytest.mark.parametrize(
    "change",
    [
        _write_one_value_behind_its_back,
        _write_one_value,
        _swap_columns_behind_its_back,
        _swap_rows_behind_its_back,
        _exchange_two_values_behind_its_back,
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_marks_tell_values_from_those_before_any_change(dtype: torch.dtype, change: Callable) -> None:
    tensors = [torch.randn(512, generator=torch.Generator().manual_seed(0)), 0.02 * torch.randn(512, 512)]
    tensors = [torch.nn.Parameter(tensor.to(dtype), requires_grad=False) for tensor in tensors]
    before = [mark.clone() for mark in value_marks(tensors)]
    assert all(map(torch.equal, value_marks(tensors), before))
    assert sum(mark.numel() for mark in before) == 16 * len(tensors)
    change(tensors[1])
    assert not all(map(torch.equal, value_marks(tensors), before))


def test_nothing_has_no_marks_and_tensors_of_inference_mode_have_some() -> None:
    assert value_marks([]) == []
    with torch.inference_mode():
        tensor = torch.randn(3, 3)
    before = [mark.clone() for mark in value_marks([tensor])]
    with torch.inference_mode():
        tensor[1, 1] += 1
    assert not all(map(torch.equal, value_marks([tensor]), before))
