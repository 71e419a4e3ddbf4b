"""TorchScript archives are read without running their code, whatever they contain."""

import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hf_prompt_models.checkpoints import torchscript_archives
from hf_prompt_models.checkpoints.torchscript_archives import is_torchscript_archive, read_torchscript_archive


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm2d(3)
        self.mask = torch.ones(2, 2)  # a plain attribute
        self.sizes = [3, 4]
        self.names = {"a": 1}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.mask.sum()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block().half().float(), Block())
        self.halves = nn.Linear(2, 2).half()
        self.transposed = nn.Parameter(torch.randn(5, 3).T)
        self.tied = self.blocks[0].linear.weight
        self.register_buffer("input_resolution", torch.tensor(224))
        self.context_length = 77
        self.ratio = 1.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks[0](x) + self.transposed.sum()


class RunsOnLoad(nn.Module):
    """A module whose archive runs a function of its own while `torch.jit.load` reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.linear.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        raise RuntimeError("this ran")


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.runs = RunsOnLoad()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


def saved(file: Path, how: str = "script") -> Path:
    model = Model().eval()
    made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.randn(2, 3))
    made.save(str(file))
    return file


def rewritten(file: Path, changes: dict[str, bytes | None], compress: tuple[str, ...] = ()) -> Path:
    """Write an archive again with other content of some of its files, by the ends of their names."""
    with zipfile.ZipFile(file) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    copy = file.with_name("rewritten.pt")
    with zipfile.ZipFile(copy, "w") as archive:
        for name, data in content.items():
            end = name.partition("/")[2]
            kind = zipfile.ZIP_DEFLATED if end in compress else zipfile.ZIP_STORED
            if (new := changes.get(end, data)) is not None:
                archive.writestr(name, new, compress_type=kind)
    return copy


@pytest.mark.parametrize("how", ["script", "trace"])
def test_tensors_are_those_of_the_state_dict(how: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "model.pt", how)
    assert is_torchscript_archive(file)
    read, expected = read_torchscript_archive(file), torch.jit.load(str(file)).state_dict()
    assert set(expected) <= set(read)
    assert set(read) - set(expected) <= {"blocks.0.mask", "blocks.1.mask", "context_length"}
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name


def test_numbers_of_the_outermost_module_are_returned(tmp_path: Path) -> None:
    read = read_torchscript_archive(saved(tmp_path / "model.pt"))
    assert read["context_length"] == 77
    assert read["input_resolution"] == torch.tensor(224)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "saved.pt")
    (tmp_path / "text.pt").write_text("text")
    assert not is_torchscript_archive(tmp_path / "saved.pt")
    assert not is_torchscript_archive(tmp_path / "text.pt")


def test_code_that_torch_would_run_while_loading_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.jit.script(Outer()).save(str(file))
    with pytest.raises(torch.jit.Error, match="this ran"):
        torch.jit.load(str(file))
    read = read_torchscript_archive(file)
    assert {name for name, value in read.items() if isinstance(value, torch.Tensor)} == {
        "linear.weight",
        "linear.bias",
    }


def test_code_is_not_even_opened(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.pt")
    with zipfile.ZipFile(file) as archive:
        code = [name.partition("/")[2] for name in archive.namelist() if "/code/" in name]
    broken = rewritten(file, dict.fromkeys(code, b"import os; os.abort()") | {"constants.pkl": b"cos\nabort\n)R."})
    with pytest.raises(RuntimeError):
        torch.jit.load(str(broken))
    assert torch.equal(read_torchscript_archive(broken)["tied"], read_torchscript_archive(file)["tied"])


MODULE = b"c__torch__\nM\n)\x81"  # an object, without attributes
A, B = (b"X\x01\x00\x00\x00" + name for name in (b"a", b"b"))


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"cos\nsystem\n.", "it needs 'os.system'"),
        (b"ctorch.jit._pickle\nbuild_other\n.", "it needs 'torch.jit._pickle.build_other'"),
        (b"ctorch.optim.sgd\nSGD\n)\x81.", "not a compiled class"),
        (b"c__torch__\nM\n)R.", "calls __torch__"),
        (b"K\x01}b.", "takes none"),
        (MODULE + b"}K\x01\x85K\x01sb.", "keys"),
        (b"K\x01.", "contains no module, but int"),
        (MODULE, "before seeing STOP"),
    ],
)
def test_pickles_that_no_module_needs_are_refused(pickled: bytes, said: str, tmp_path: Path) -> None:
    file = rewritten(saved(tmp_path / "model.pt"), {"data.pkl": b"\x80\x02" + pickled})
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        read_torchscript_archive(file)
    assert "rewritten.pt" in str(refused.value)


def test_compressed_weights_are_refused_and_compressed_code_is_not(tmp_path: Path) -> None:
    """A few bytes of compressed zeros can be gigabytes of weights."""
    file = saved(tmp_path / "model.pt")
    assert read_torchscript_archive(rewritten(file, {}, compress=("code/__torch__.py", "version")))
    for name in ("data/0", "data.pkl"):
        with pytest.raises(ValueError, match="compressed"):
            read_torchscript_archive(rewritten(file, {}, compress=(name,)))


def test_records_that_are_missing_short_or_overlap_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.pt")
    for change in ({"data/0": None}, {"data/0": b"\0"}, {"data.pkl": None}, {"byteorder": b"big"}):
        with pytest.raises(ValueError, match=r"rewritten\.pt cannot be read"):
            read_torchscript_archive(rewritten(file, change))
    content = bytearray(file.read_bytes())
    entry = content.rindex(b"model/data/0") - 46
    struct.pack_into("<2L", content, entry + 20, *[len(content)] * 2)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="overlap"):
        read_torchscript_archive(file)


def doubled(levels: int) -> bytes:
    """Return the pickle of a module with two references to the module below, and so on."""
    if levels == 0:
        return MODULE
    memo = bytes([levels])
    return MODULE + b"}(" + A + doubled(levels - 1) + b"q" + memo + B + b"h" + memo + b"ub"


@pytest.mark.parametrize("content", [doubled(40), MODULE + b"q\x00}" + A + b"h\x00sb"], ids=["doubled", "itself"])
def test_modules_without_end_are_refused(content: bytes, tmp_path: Path) -> None:
    file = rewritten(saved(tmp_path / "model.pt"), {"data.pkl": b"\x80\x02" + content + b"."})
    with pytest.raises(ValueError, match="too many, or too deep"):
        read_torchscript_archive(file)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("sample") / "file.pt")


@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_but_nothing_else(sample: Path, data: Any) -> None:
    content = bytearray(sample.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=20)):
        content[place] = data.draw(st.integers(0, 255))
    damaged = sample.with_name("damaged.pt")
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        read_torchscript_archive(damaged)
    except ValueError as refusal:
        if "damaged.pt" not in str(refusal):
            raise


def test_limits_are_those_of_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "model.pt")
    for limit in ("MAX_DEPTH", "MAX_ATTRIBUTES", "MAX_NAME"):
        with monkeypatch.context() as patch:
            patch.setattr(torchscript_archives, limit, 1)
            with pytest.raises(ValueError, match="too many, or too deep"):
                read_torchscript_archive(file)
