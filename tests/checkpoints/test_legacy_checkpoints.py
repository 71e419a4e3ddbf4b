"""Checkpoints from before PyTorch 1.6 are read without executing code, whatever they contain."""

import contextlib
import os
import pickle
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.checkpoints.legacy_checkpoints import is_legacy_checkpoint, read_legacy_checkpoint
from hf_prompt_models.checkpoints.torch_checkpoints import STORAGE_DTYPES


def saved(path: Path, value: Any, **kwargs: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=False, **kwargs)
    return path


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_tensors_and_plain_values_are_those_that_were_saved(tmp_path: Path) -> None:
    base = torch.randn(4, 5, 6)
    value = {
        "dtypes": [torch.arange(7).to(dtype) for dtype in STORAGE_DTYPES.values()],
        "slice": base[1:3, ::2, 1:],
        "transposed": base.transpose(0, 2),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "shared": [base, base],
        "plain": OrderedDict(a=1, b="é", c=[None, 0.5]),
    }
    file = saved(tmp_path / "file.bin", value)
    assert is_legacy_checkpoint(file)
    read, expected = read_legacy_checkpoint(file), torch.load(file, weights_only=False)
    for name in ("slice", "transposed", "scalar", "empty", "parameter"):
        torch.testing.assert_close(read[name], expected[name].detach(), rtol=0, atol=0)
    for tensor, other in zip(read["dtypes"] + read["shared"], value["dtypes"] + value["shared"], strict=True):
        assert tensor.dtype == other.dtype
        assert torch.equal(tensor, other)
    assert read["plain"] == dict(value["plain"])


def test_newer_files_and_others_are_distinguished(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "new.pt")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps([1] * 40))
    for name in ("new.pt", "bare.pkl"):
        assert not is_legacy_checkpoint(tmp_path / name)
        with pytest.raises(ValueError, match="none of its code was run"):
            read_legacy_checkpoint(tmp_path / name)


def test_code_in_any_of_the_pickles_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, []]
    for place in range(5):
        changed = [Calls(os.mkdir, str(mark)) if place == index else part for index, part in enumerate(parts)]
        file = tmp_path / f"{place}.bin"
        file.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in changed))
        with pytest.raises(ValueError, match=r"none of its code was run: .*mkdir"):
            read_legacy_checkpoint(file)
        assert not mark.exists()


@pytest.mark.parametrize("cut", [1, 4, 30, 600])
def test_files_that_end_too_early_are_refused(cut: int, tmp_path: Path) -> None:
    file = saved(tmp_path / "file.bin", {"a": torch.ones(100), "b": torch.zeros(50)})
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(ValueError, match="none of its code was run"):
        read_legacy_checkpoint(file)


@given(st.integers(0, 2**32), st.integers(0, 255))
def test_a_changed_byte_gives_another_value_or_a_clear_error(place: int, byte: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = saved(Path(folder) / "file.bin", {"a": torch.ones(4), "b": [torch.zeros(2, 2), "text"]})
        content = bytearray(file.read_bytes())
        content[place % len(content)] = byte
        file.write_bytes(content)
        with contextlib.suppress(ValueError):
            read_legacy_checkpoint(file)
