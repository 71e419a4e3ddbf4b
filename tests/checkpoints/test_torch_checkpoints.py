"""Checkpoints are read without executing code, whatever they contain."""

import builtins
import io
import os
import pickle
import re
import struct
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.checkpoints import torch_checkpoints
from hf_prompt_models.checkpoints.torch_checkpoints import OpaqueObject, read_torch_checkpoint


def archive(path: Path, pickled: bytes, records: dict[str, bytes] | None = None, **kwargs: Any) -> Path:
    with zipfile.ZipFile(path, "w", **kwargs) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, content in (records or {}).items():
            file.writestr(f"archive/data/{name}", content)
    return path


def saved(path: Path, value: Any, **kwargs: Any) -> Path:
    torch.save(value, path, **kwargs)
    return path


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


# -- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_and_plain_values_are_those_that_were_saved(protocol: int, tmp_path: Path) -> None:
    base = torch.randn(4, 5, 6)
    value = {
        "dtypes": [torch.arange(7).to(dtype) for dtype in torch_checkpoints.STORAGE_DTYPES.values()],
        "slice": base[1:3, ::2, 1:],
        "transposed": base.transpose(0, 2),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "shared": [base, base],
        "plain": [None, True, False, 0, 255, 65536, -3, 2**40, 0.1, "é", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "long": list(range(2000)),
        "dicts": [OrderedDict(a=1), defaultdict(list, {"b": [2]}), Counter([5, 5]), defaultdict(dict)],
        "numpy": [np.float64(0.1), np.float32(0.1), np.int64(-5)],
    }
    read = read_torch_checkpoint(saved(tmp_path / "file.pt", value, pickle_protocol=protocol))
    expected = torch.load(tmp_path / "file.pt", weights_only=False)
    assert list(read) == list(value)
    for name in ("slice", "transposed", "scalar", "empty", "parameter"):
        torch.testing.assert_close(read[name], expected[name].detach(), rtol=0, atol=0)
    for tensor, other in zip(read["dtypes"] + read["shared"], value["dtypes"] + value["shared"], strict=True):
        assert tensor.dtype == other.dtype
        assert torch.equal(tensor, other)
    assert [read[name] for name in ("plain", "long")] == [value[name] for name in ("plain", "long")]
    assert read["dicts"] == [{"a": 1}, {"b": [2]}, {5: 2}, {}]
    assert read["numpy"] == [0.1, float(np.float32(0.1)), -5]


def test_a_models_state_dict_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).half().state_dict()
    read = read_torch_checkpoint(saved(tmp_path / "file.pt", state))
    assert list(read) == list(state)
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_optimizers_and_schedulers_are_read_as_their_names(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.randn(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    parameter.sum().backward()
    optimizer.step()
    value = {"optimizer": optimizer.state_dict(), "successor": scheduler, "itself": optimizer}
    read = read_torch_checkpoint(saved(tmp_path / "file.pt", value))
    assert read["itself"] == OpaqueObject("torch.optim.sgd.SGD")
    assert read["successor"] == OpaqueObject("torch.optim.lr_scheduler.CosineAnnealingLR")
    assert torch.equal(read["optimizer"]["state"][0]["momentum_buffer"], torch.ones(2))


class HistoryBuffer:
    """As OpenMMLab's code keeps what it logs."""

    def __init__(self, values: list[float]) -> None:
        self.max_length = 1000000
        self._log_history = np.array(values)
        self._count_history = np.ones(len(values), dtype=np.int64)


@pytest.mark.parametrize("protocol", [2, 4])
def test_logs_of_openmmlabs_code_are_read_as_their_names(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mmengine.logging.history_buffer"
    with monkeypatch.context() as patch:
        for module in ("mmengine", "mmengine.logging", name):
            patch.setitem(sys.modules, module, ModuleType(module))
        patch.setattr(sys.modules[name], "HistoryBuffer", HistoryBuffer, raising=False)
        patch.setattr(HistoryBuffer, "__module__", name)
        hub = {length: HistoryBuffer([0.1] * length) for length in (0, 1, 31)}
        path = saved(tmp_path / "file.pt", {"message_hub": hub, "iter": 5}, pickle_protocol=protocol)
    read = read_torch_checkpoint(path)
    assert read == {"message_hub": dict.fromkeys(hub, OpaqueObject(f"{name}.HistoryBuffer")), "iter": 5}


def test_long_logs_are_passed_over_and_not_copied(tmp_path: Path) -> None:
    value = [np.zeros(100_000), np.zeros((2, 3), dtype=np.float32), np.array([])]
    read = read_torch_checkpoint(saved(tmp_path / "file.pt", value))
    assert read == [OpaqueObject("numpy.ndarray")] * 3


# -- what is refused -------------------------------------------------------------------------------------------------

ATTACKS = {
    "os.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "exec": lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"),
    "eval": lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Calls(open, str(mark), "w"),
    "getattr of an allowed class": lambda mark: Calls(getattr, torch.optim.SGD, "__init__"),
    "torch.load": lambda mark: Calls(torch.load, str(mark)),
    "torch.save": lambda mark: Calls(torch.save, 1, str(mark)),
    "torch.hub.load": lambda mark: Calls(torch.hub.load, str(mark.parent), "model"),
    "torch.Tensor.set_": lambda mark: Calls(torch._tensor._rebuild_from_type_v2, os.mkdir, str, (str(mark),), {}),
    "import": lambda mark: Calls(builtins.__import__, "antigravity"),
    "as a key": lambda mark: {"a": {Calls(os.mkdir, str(mark)): 1}},
    "as a factory": lambda mark: Calls(defaultdict, os.system),
    "as a state": lambda mark: [OrderedDict(a=Calls(os.mkdir, str(mark)))],
    "a method of its own": lambda mark: Calls(OrderedDict.fromkeys, [1]),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_and_does_nothing(attack: str, protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    pickled = pickle.dumps({"state_dict": {}, "x": ATTACKS[attack](mark)}, protocol)
    with pytest.raises(ValueError, match="none of its code was run"):
        read_torch_checkpoint(archive(tmp_path / "file.pt", pickled))
    assert not mark.exists()


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


CONTENT_OF_A_DICT = b"\x80\x02}X\x01\x00\x00\x00a"  # then a value, then "s."
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
NOT_A_STORAGE = STORAGE.replace(b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n")
GETATTR = b"cbuiltins\ngetattr\n(cbuiltins\n__import__\nX\x02\x00\x00\x00os\x85RX\x06\x00\x00\x00systemtR."
ENCODE = b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NUMPY_DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R"
BY_HAND = {
    "a name": (b"\x80\x02cos\nsystem\n.", "needs 'os.system'"),
    "getattr of an import": (b"\x80\x02" + GETATTR, "needs 'builtins.getattr'"),
    "a dotted name below an allowed one": (
        b"\x80\x04" + short("torch.optim.sgd") + short("SGD.__init__.__globals__") + b"\x93.",
        "needs 'torch.optim.sgd.SGD.__init__.__globals__'",
    ),
    "a dotted name above an allowed one": (
        b"\x80\x04" + short("torch.optim") + short("sgd.os.system") + b"\x93.",
        "needs 'torch.optim.sgd.os.system'",
    ),
    "a prefix of an allowed name": (
        b"\x80\x04" + short("torch") + short("optim") + b"\x93.",
        "needs 'torch.optim'",
    ),
    "a module that is no string": (b"\x80\x04]K\x01a" + short("SGD") + b"\x93.", "by an invalid name"),
    "a name that is no string": (b"\x80\x04" + short("torch") + b"K\x01\x93.", "by an invalid name"),
    "calls a string": (b"\x80\x02X\x04\x00\x00\x00exec)R.", "an unknown function"),
    "sets the state of a class": (b"\x80\x02ctorch.optim.sgd\nSGD\n}X\x01\x00\x00\x00aK\x01sb.", "has none"),
    "makes an object of a function": (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)\x81.", "an unknown class"),
    "makes an object of another class": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "an unknown class"),
    "a registered extension": (b"\x80\x02\x82\x01.", "instruction EXT1"),
    "an old-style instance": (b"(ios\nsystem\n.", "instruction INST"),
    "an old-style object": (b"(ctorch.optim.sgd\nSGD\no.", "instruction OBJ"),
    "a persistent id of text": (b"Pos.system\n.", "instruction PERSID"),
    "a persistent id of a module": (
        b"\x80\x02(X\x06\x00\x00\x00moduleX\x01\x00\x00\x000tQ.",
        "not a storage of a tensor",
    ),
    "a storage of no type": (b"\x80\x02" + NOT_A_STORAGE + b".", "not a storage of a tensor"),
    "a buffer from outside": (b"\x80\x05\x97.", "instruction NEXT_BUFFER"),
    "sets items of a list": (b"\x80\x02]K\x01K\x02s.", "not a dict"),
    "appends to a dict": (b"\x80\x02}K\x01a.", "not a list"),
    "a nested tuple for a key": (b"\x80\x02}K\x01\x85\x85\x85K\x01s.", "keys"),
    "a large integer for a key": (b"\x80\x02}\x8a\xff" + b"\x7f" * 255 + b"K\x01s.", "keys"),
    "an odd number of keys and values": (b"\x80\x02}(K\x01u.", "keys"),
    "reads what was not written": (b"\x80\x02h\x05.", "does not exist"),
    "takes from nothing": (b"\x80\x02s.", "uses more objects than it creates"),
    "closes what is not open": (b"\x80\x02t.", "ends a list that it did not start"),
    "leaves two objects": (b"\x80\x02K\x01K\x02.", "more than one object"),
    "leaves an open mark": (b"\x80\x02(K\x01.", "more than one object"),
    "does not stop": (b"\x80\x02K\x01", "before seeing STOP"),
    "leaves nothing": (b"\x80\x02.", "uses more objects than it creates"),
    "a text in another code": (b"\x80\x02" + ENCODE, "calls _codecs.encode with"),
    "bytes of a length": (b"\x80\x02cbuiltins\nbytes\nK\x09\x85R.", "calls builtins.bytes with"),
    "an array of somebody's class": (b"\x80\x02" + RECONSTRUCT + b"cos\nsystem\n\x85R.", "needs 'os.system'"),
    "an array of no array": (b"\x80\x02" + RECONSTRUCT + b"cnumpy\ndtype\n\x85R.", "_reconstruct with"),
    "a NumPy object": (b"\x80\x02" + NUMPY_DTYPE.replace(b"f8", b"O8") + b".", "calls numpy.dtype with"),
    "a NumPy number without bytes": (
        b"\x80\x03cnumpy.core.multiarray\nscalar\n" + NUMPY_DTYPE + b"C\x00\x86R.",
        "buffer is smaller",
    ),
    "a big-endian NumPy number": (
        b"\x80\x02" + NUMPY_DTYPE + b"(K\x03X\x01\x00\x00\x00>tb.",
        "not little-endian",
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_pickle_written_by_hand_is_refused(case: str, tmp_path: Path) -> None:
    pickled, reason = BY_HAND[case]
    with pytest.raises(ValueError, match=f"none of its code was run.*{re.escape(reason)}"):
        read_torch_checkpoint(archive(tmp_path / "file.pt", pickled, {"0": bytes(16)}))


def tensor_pickle(offset: int, size: tuple[int, ...], stride: tuple[int, ...], storage: bytes = STORAGE) -> bytes:
    def number(value: int) -> bytes:
        data = pickle.encode_long(value) or b"\x00"
        return b"\x8a" + bytes([len(data)]) + data

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    head = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage
    return head + number(offset) + numbers(size) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR."


def test_a_tensor_written_by_hand_is_read(tmp_path: Path) -> None:
    values = struct.pack("<4f", 1, 2, 3, 4)
    path = archive(tmp_path / "file.pt", tensor_pickle(1, (2, 1), (2, 1)), {"0": values})
    assert read_torch_checkpoint(path).tolist() == [[2], [4]]


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (4, (1,), (1,)),
        (2**70, (1,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (4, 4), (1, 0)),  # sixteen numbers out of four
        (0, (2**40,), (0,)),
        (0, (1,), (2**70,)),
        (0, (2,), (2**63,)),
        (0, (0, 2**62, 2**62), (1, 1, 1)),
        (-1, (1,), (1,)),
        (3, (2,), (-1,)),
        (0, (-1, -4), (1, 1)),
        (0, (2,), (1, 1)),
        (0, (1,) * 17, (1,) * 17),
    ],
)
def test_a_tensor_that_reaches_beyond_its_record_is_refused(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="none of its code was run"):
        read_torch_checkpoint(archive(tmp_path / "file.pt", tensor_pickle(offset, size, stride), {"0": bytes(16)}))


@pytest.mark.parametrize("records", [{}, {"0": bytes(15)}, {"0": bytes(20)}, {"1": bytes(16)}])
def test_a_record_that_is_missing_or_of_another_size_is_refused(records: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="record"):
        read_torch_checkpoint(archive(tmp_path / "file.pt", tensor_pickle(0, (4,), (1,)), records))


def test_a_compressed_record_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "file.pt", b"\x80\x02}.", {"0": bytes(2**20)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        read_torch_checkpoint(path)


def test_records_that_overlap_are_refused(tmp_path: Path) -> None:
    """Many entries of the directory that point to the same bytes would be many times the file in memory."""
    path = archive(tmp_path / "file.pt", b"\x80\x02}.", {str(i): bytes(1000) for i in range(3)})
    content = path.read_bytes()
    start = content.rindex(b"archive/data/2") - 46
    with zipfile.ZipFile(path) as file:
        size_at, offset_at = start + 20, start + 42
        first = file.getinfo("archive/data/0").header_offset
    changed = bytearray(content)
    changed[size_at : size_at + 8] = struct.pack("<2L", 2900, 2900)
    changed[offset_at : offset_at + 4] = struct.pack("<L", first)
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="overlap"):
        read_torch_checkpoint(path)


def test_a_pickle_too_large_to_be_a_checkpoints_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_checkpoints, "MAX_PICKLE_BYTES", 1000)
    with pytest.raises(ValueError, match="more than 1000"):
        read_torch_checkpoint(saved(tmp_path / "file.pt", list(range(1000))))


def test_a_pickle_of_too_many_instructions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_checkpoints, "MAX_INSTRUCTIONS", 1000)
    assert read_torch_checkpoint(saved(tmp_path / "file.pt", list(range(900)))) == list(range(900))
    with pytest.raises(ValueError, match="more than 1000 instructions"):
        read_torch_checkpoint(saved(tmp_path / "file.pt", list(range(1000))))


def test_deeply_nested_and_self_containing_values_do_no_harm(tmp_path: Path) -> None:
    depth = 500_000
    nested = b"\x80\x02" + b")" + b"\x85" * depth + b"."
    value = read_torch_checkpoint(archive(tmp_path / "nested.pt", nested))
    for _ in range(depth):
        (value,) = value
    assert value == ()
    itself = read_torch_checkpoint(archive(tmp_path / "itself.pt", b"\x80\x02]q\x00h\x00a."))
    assert itself[0] is itself


def test_the_format_before_pytorch_1_6_and_other_files_are_refused_by_name(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    legacy = saved(tmp_path / "legacy.pt", {"a": torch.ones(2)}, _use_new_zipfile_serialization=False)
    bare = tmp_path / "bare.pkl"
    bare.write_bytes(pickle.dumps(Calls(os.mkdir, str(mark))))
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for path in (legacy, bare, empty):
        with pytest.raises(ValueError, match=f"{path.name} is not a checkpoint in the zip format"):
            read_torch_checkpoint(path)
    assert not mark.exists()
    with pytest.raises(FileNotFoundError):
        read_torch_checkpoint(tmp_path / "missing.pt")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("readme.txt", "no checkpoint")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        read_torch_checkpoint(tmp_path / "other.zip")


def test_a_checkpoint_of_the_other_byte_order_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
        file.writestr("archive/byteorder", "big")
    with pytest.raises(ValueError, match="endian"):
        read_torch_checkpoint(tmp_path / "file.pt")


def _sample() -> bytes:
    parameter = torch.nn.Parameter(torch.randn(2, 3))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    file = io.BytesIO()
    torch.save({"state_dict": OrderedDict(ctx=parameter.data.half()), "epoch": 5, "optimizer": optimizer}, file)
    return file.getvalue()


SAMPLE = _sample()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "file.pt"


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=20),
    cut=st.integers(0, len(SAMPLE)),
)
def test_a_damaged_file_is_read_or_refused_but_nothing_else(
    changes: list[tuple[int, int]], cut: int, damaged: Path
) -> None:
    for length in (len(SAMPLE), cut):
        content = bytearray(SAMPLE)
        for place, byte in changes:
            content[place] = byte
        damaged.write_bytes(content[:length])
        try:
            read_torch_checkpoint(damaged)
        except ValueError as refusal:
            if "file.pt" not in str(refusal):
                raise


@given(pickled=st.binary(max_size=60), tail=st.binary(max_size=20))
def test_any_bytes_for_a_pickle_are_read_or_refused(pickled: bytes, tail: bytes, damaged: Path) -> None:
    for content in (pickled, CONTENT_OF_A_DICT + tail + b"s.", b"\x80\x02" + STORAGE + tail):
        try:
            read_torch_checkpoint(archive(damaged, content, {"0": bytes(16)}))
        except ValueError as refusal:
            if "none of its code was run" not in str(refusal):
                raise
