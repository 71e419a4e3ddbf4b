"""Feature files are read line by line, and errors name the corrupt line."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_prompt_models.data.grounding.region_features import (
    DetectedRegion,
    RegionFeatureFile,
    encode_region,
    index_path,
    write_line_index,
    write_region_features,
)


SIZE = 6


def regions(count: int, seed: int = 0) -> list[DetectedRegion]:
    features = np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)
    return [DetectedRegion((float(n), 1.0, n + 4.5, 9.0), f"thing {n}", feature) for n, feature in enumerate(features)]


def same(found: list[DetectedRegion], expected: list[DetectedRegion]) -> bool:
    pairs = list(zip(found, expected, strict=True))
    return all((a.box, a.label) == (b.box, b.label) and (a.feature == b.feature).all() for a, b in pairs)


def encoded(count: int, seed: int = 0) -> list[dict[str, Any]]:
    return [encode_region(region) for region in regions(count, seed)]


def one_line(path: Path, line: str) -> RegionFeatureFile:
    path.write_text(f"first\t{json.dumps({'objects': encoded(1)})}\n{line}\n", encoding="utf-8")
    write_line_index(path)
    return RegionFeatureFile(path, SIZE)


def test_regions_come_back_exactly_and_in_any_order(tmp_path: Path) -> None:
    rows = [(f"é{n}", {"objects": encoded(n + 1, seed=n)}) for n in range(4)]
    write_region_features(tmp_path / "predictions.tsv", rows)
    file = RegionFeatureFile(tmp_path / "predictions.tsv", SIZE)
    assert len(file) == 4
    for n in (2, 0, 3, 1):
        assert file.read(n)[0] == f"é{n}"
        assert same(file.regions(n), regions(n + 1, seed=n))


def test_only_the_asked_for_line_is_read(tmp_path: Path) -> None:
    file = one_line(tmp_path / "f.tsv", "second\tnonsense")
    assert same(file.regions(0), regions(1))


def test_phrases_with_painted_copies_are_read(tmp_path: Path) -> None:
    painted = [[[0, 1, 4, 9]], [[1, 1, 5, 9]]]
    objects = [[encoded(2, 1), encoded(2, 2)], "the cat", [["red"], ["red"]], painted]
    write_region_features(tmp_path / "f.tsv", [("77", {"objects": objects})])
    prompt = RegionFeatureFile(tmp_path / "f.tsv", SIZE).grounding_prompt(0)
    assert (prompt.key, prompt.text, prompt.color_names) == ("77", "the cat", [["red"], ["red"]])
    assert prompt.painted == [[(0, 1, 4, 9)], [(1, 1, 5, 9)]]
    assert all(same(found, regions(2, seed)) for found, seed in zip(prompt.copies, (1, 2), strict=True))


def test_pairs_of_painted_regions_are_read(tmp_path: Path) -> None:
    objects = [[encoded(3)], ["red", "blue"], ["man", "horse"], "riding"]
    write_region_features(tmp_path / "f.tsv", [("VG_100K/2_1.jpg_0_2", {"objects": objects})])
    prompt = RegionFeatureFile(tmp_path / "f.tsv", SIZE).relation_prompt(0)
    assert (prompt.picture, prompt.pair, prompt.predicate) == ("VG_100K/2_1.jpg", (0, 2), "riding")
    assert (prompt.color_names, prompt.names) == (["red", "blue"], ["man", "horse"])
    assert same(prompt.regions, regions(3))


def test_regions_of_a_pair_need_no_list_of_their_own(tmp_path: Path) -> None:
    objects = [encoded(3), ["red", "blue"], ["man", "horse"], "riding"]
    write_region_features(tmp_path / "f.tsv", [("2_0_2", {"objects": objects})])
    prompt = RegionFeatureFile(tmp_path / "f.tsv", SIZE).relation_prompt(0)
    assert (prompt.pair, prompt.predicate) == ((0, 2), "riding")
    assert same(prompt.regions, regions(3))


def changed(**changes: Any) -> str:
    return "key\t" + json.dumps({"objects": [{**encoded(1)[0], **changes}]})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no tab at all", "there is no tab"),
        ('key\t{"objects": [', "Expecting value"),
        ("key\t" + "[" * 100_000, "recursion"),
        ('key\t{"things": []}', "it contains no regions"),
        (changed(feature="@@@@"), "feature of region 0 is not valid base64"),
        (changed(feature=base64.b64encode(bytes(20)).decode()), "feature of region 0 has 20 bytes instead of 4 x 6"),
        (
            changed(feature=base64.b64encode(np.full(6, np.nan, "<f4").tobytes()).decode()),
            "feature of region 0 contains NaN",
        ),
        (changed(rect=[1, 2, 3]), "a box is four numbers"),
        (changed(feature=7), "region 0 is not an object with"),
    ],
)
def test_a_corrupt_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    file = one_line(tmp_path / "f.tsv", line)
    with pytest.raises(ValueError, match=rf"f\.tsv, line 2: .*{message}"):
        file.regions(1)


@pytest.mark.parametrize("objects", [[], [[], "text"], [[[]], "text", [["red"]], [[]]]])
def test_lines_of_another_kind_are_refused(objects: list[Any], tmp_path: Path) -> None:
    file = one_line(tmp_path / "f.tsv", "key_0_9\t" + json.dumps({"objects": objects}))
    with pytest.raises(ValueError, match="line 2: it contains no phrase"):
        file.grounding_prompt(1)
    with pytest.raises(ValueError, match="line 2: it contains no pair"):
        file.relation_prompt(1)


@pytest.mark.parametrize("offsets", ["", "0\n9999", "0\n5\n5", "3", "0\nx", "0\n-1"])
def test_offsets_of_another_file_are_refused(offsets: str, tmp_path: Path) -> None:
    one_line(tmp_path / "f.tsv", changed())
    index_path(tmp_path / "f.tsv").write_text(offsets)
    with pytest.raises(ValueError, match=r"f\.lineidx"):
        RegionFeatureFile(tmp_path / "f.tsv", SIZE)


def test_offsets_that_skip_a_line_are_found_out_and_missing_ones_asked_for(tmp_path: Path) -> None:
    one_line(tmp_path / "f.tsv", changed())
    index_path(tmp_path / "f.tsv").write_text("0\n")
    with pytest.raises(ValueError, match="lacks the start of a line"):
        RegionFeatureFile(tmp_path / "f.tsv", SIZE).read(0)
    index_path(tmp_path / "f.tsv").unlink()
    with pytest.raises(FileNotFoundError, match="Create it with write_line_index"):
        RegionFeatureFile(tmp_path / "f.tsv", SIZE)
