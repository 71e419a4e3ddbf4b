"""Malicious files, made by random mutations of valid ones: bytes, lines, JSON and the headers of safetensors."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import PurePath
from typing import Any


OUTSIDE = "outside"
"""A folder beside the one that is read. Nothing in it may ever be opened."""

INTEGERS = (-1, 0, 1, 2, 7, 255, 2**31 - 1, 2**31, 2**32 + 1, 10**9, 2**63, 10**18, 10**30, -(2**63), 10**400)
FLOATS = (0.5, -0.0, 1e9, 1e308, -1e308, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    *("", " ", ".", "..", "/", "\0", "a\0b", "\ud800", "\u2028", "٣", "²", "None", "NaN", "-1", "1e9", "10" * 30),
    *(f"../{OUTSIDE}/secret.png", f"x/../../{OUTSIDE}/secret.png", f"../{OUTSIDE}/secret.safetensors"),
    *(
        "/dev/zero",
        "/dev/stdin",
        "/proc/self/mem",
        "C:\\x",
        "http://localhost:1/x.png",
        "hf://x",
        "file:///etc/passwd",
    ),
    *("{}", "{0.__class__}", "%s", "a" * 300, "b" * 70_000, "os.system", "x/y--z.Class", "eval", "train"),
)
MAX_BYTES = 32 * 2**20
"""Of a mutated file: JSON takes several times its size in memory, and what is doubled may be doubled again."""
CHUNKS = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"\n",
    b"\t",
    b'"',
    b"{",
    b"[",
    b"..",
    b"-",
)


def mutate(name: str, content: bytes, rng: random.Random) -> bytes:
    """Return mutated content for a file of this name."""
    kinds = _KINDS.get(PurePath(name).suffix, (mutate_bytes,))
    kind = rng.choice(kinds) if rng.random() < 0.8 else mutate_bytes
    return kind(content, rng)[:MAX_BYTES]


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change, remove, insert or duplicate some bytes, or truncate the content."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8, 30))):
        place = rng.randrange(len(changed) + 1)
        # Headers declare what follows, so half of the changes are there.
        place = min(place, rng.choice((len(changed), 64, 400)))
        length = rng.choice((1, 1, 2, 4, 8, 100))
        match rng.randrange(8):
            case 0 | 1:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            case 2:
                changed[place : place + 1] = bytes([(changed[place : place + 1] or b"\0")[0] ^ 1 << rng.randrange(8)])
            case 3:
                chunk = rng.choice(CHUNKS)
                changed[place : place + len(chunk)] = chunk
            case 4:
                changed[place:place] = rng.choice(CHUNKS) * rng.choice((1, 1, 1, 20, 2000))
            case 5:
                del changed[place : place + length]
            case 6:
                changed[place:place] = changed[place : place + length * 4] * rng.choice((1, 2, 50))
            case 7:
                size = rng.choice((2, 4, 8))
                number = rng.choice(INTEGERS[:12]) % 2 ** (8 * size)
                changed[place : place + size] = number.to_bytes(size, rng.choice(("little", "big")))
    if rng.random() < 0.15:
        del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def mutate_lines(content: bytes, rng: random.Random) -> bytes:
    """Change fields of some lines, or duplicate, swap or remove complete lines."""
    lines = content.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                lines[place : place + 1] = [lines[place]] * rng.choice((0, 2, 500))
                lines = lines or [b""]
            case 1:
                other = rng.randrange(len(lines))
                lines[place], lines[other] = lines[other], lines[place]
            case _:
                mark = rng.choice((b" ", b",", b"\t", b";"))
                fields = lines[place].split(mark)
                fields[rng.randrange(len(fields))] = str(_leaf(rng)).encode("utf-8", "surrogatepass")
                lines[place] = mark.join(fields)
    return b"\n".join(lines)


def mutate_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON value of which parts are of other types, of absurd sizes, missing, repeated or nested."""
    return _dump(_changed(json.loads(content), rng), rng)


def mutate_json_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    place = rng.choice([place for place, line in enumerate(lines) if line.strip()])
    lines[place] = mutate_json(lines[place], rng)
    return b"\n".join(lines)


def mutate_tsv(content: bytes, rng: random.Random) -> bytes:
    """The JSON behind the key of a line, and the key."""
    lines = content.split(b"\n")
    place = rng.choice([place for place, line in enumerate(lines) if b"\t" in line])
    key, _, value = lines[place].partition(b"\t")
    if rng.random() < 0.3:
        key = str(_leaf(rng)).encode("utf-8", "surrogatepass") + rng.choice((b"_1_2", b"_0_1", b""))
    lines[place] = key + b"\t" + mutate_json(value, rng)
    return b"\n".join(lines)


def mutate_safetensors(content: bytes, rng: random.Random) -> bytes:
    """The header, which is JSON, with the length before it right or wrong."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    if rng.random() < 0.2 and (told := header.get("__metadata__")):  # JSON within the JSON
        key = rng.choice(sorted(told))
        told[key] = mutate_json(json.dumps(_changed(_parsed(told[key]), rng)).encode(), rng).decode("utf-8", "replace")
        written = json.dumps(header).encode()
    else:
        written = _dump(_changed(header, rng), rng)
    number = len(written) if rng.random() < 0.9 else rng.choice(INTEGERS[:12]) % 2**64
    return struct.pack("<Q", number) + written + content[8 + length :]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _leaf(rng: random.Random) -> Any:
    return rng.choice(rng.choice((INTEGERS[:14], FLOATS, TEXTS, (None, True, False))))


def _hostile(rng: random.Random) -> Any:
    match rng.randrange(8):
        case 0:
            return rng.choice(([], {}, [[]], {"": None}, [None], [{}], {"0": 1}))
        case 1:
            return [_leaf(rng) for _ in range(rng.choice((1, 2, 4, 300)))]
        case 2:
            return {str(_leaf(rng)): _leaf(rng) for _ in range(rng.choice((1, 3)))}
        case _:
            return _leaf(rng)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key or index in a value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else []
        for key in keys:
            found.append((each, key))
            waiting.append(each[key])
    return found


def _changed(value: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = _places(value)
        if not places or rng.random() < 0.03:
            return _hostile(rng)
        container, key = rng.choice(places)
        old = container[key]
        match rng.randrange(10):
            case 0:
                del container[key]
            case 1:
                container[key] = rng.choice(([old], {"a": old}, str(old)[:1000], [old, old]))
            case 2:
                other, place = rng.choice(places)
                container[key] = json.loads(json.dumps(other[place]))
            case 3 if isinstance(container, list):
                container[key:key] = [old] * rng.choice((1, 1, 70, 1000))
            case 3:
                container[str(_leaf(rng))] = old
            case 4 if type(old) is int:
                container[key] = rng.choice((old + 1, -old, old * 2, float(old), str(old), rng.choice(INTEGERS[:14])))
            case _:
                container[key] = _hostile(rng)
    return value


def _dump(value: Any, rng: random.Random) -> bytes:
    text = json.dumps(value)
    match rng.randrange(40):
        case 0:  # nesting that no parser should follow
            depth = rng.choice((50, 900, 100_000))
            place = rng.choice([place for place, letter in enumerate(text) if letter in ":,["] or [0]) + 1
            text = f"{text[:place]}{'[' * depth}{']' * depth}{text[place:].lstrip('[{')}"
        case 1:  # a number of many digits
            text = text.replace("1", "1" * 10_000, 1)
        case 2:
            text = "\ufeff" + text
        case 3:
            text = text.replace("{", '{"id": 1, "id": 2, ', 1)
    return text.encode("utf-8", "surrogatepass")


_KINDS: dict[str, tuple[Callable[[bytes, random.Random], bytes], ...]] = {
    ".json": (mutate_json,),
    ".jsonl": (mutate_json_lines,),
    ".tsv": (mutate_tsv, mutate_lines),
    ".safetensors": (mutate_safetensors,),
    **dict.fromkeys((".txt", ".csv", ".lineidx", ".md", ""), (mutate_lines,)),
}
