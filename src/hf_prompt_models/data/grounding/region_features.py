"""Features of detected regions in the format of Oscar, VinVL and CPT: a TSV file with an index of line offsets.

A line is `key TAB json`. There are three kinds of JSON content, which `regions`, `grounding_prompt` and
`relation_prompt` read. Source: thunlp/CPT, Oscar/oscar/datasets/{refcoco_fsl_cpt,vg_cpt}_dataset.py.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hf_prompt_models.utils.boxes import Box
from hf_prompt_models.utils.files import replacing


MAX_INDEX_BYTES = 256 * 2**20
MAX_LINE_BYTES = 256 * 2**20
"""Largest size in bytes of a line. 50 regions in 50 painted copies, as in CPT's files, take 28 MB."""
REGION_FEATURE_SIZE = 2054


@dataclass(frozen=True)
class DetectedRegion:
    """A detected region with its feature.

    Attributes:
        box: box (x1, y1, x2, y2) in pixels of the image.
        label: class name from the detector.
        feature: float32 array of shape (region_feature_size,).

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import DetectedRegion
        >>> region = DetectedRegion(box=(0, 0, 30, 20), label="key", feature=np.zeros(2054, dtype=np.float32))
        >>> region.label, region.feature.shape
        ('key', (2054,))

        ```
    """

    box: Box
    label: str
    feature: np.ndarray


@dataclass(frozen=True)
class GroundingPrompt:
    """A phrase and the painted copies of an image, as in CPT's feature files for RefCOCO.

    Attributes:
        key: ID of the annotation.
        text: the phrase.
        copies: all regions of each copy, with the features of the painted image.
        color_names: names of the colours painted in each copy.
        painted: boxes in pixels that are painted with these colours in each copy.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import DetectedRegion, GroundingPrompt
        >>> region = DetectedRegion((0, 0, 30, 20), "key", np.zeros(2054, dtype=np.float32))
        >>> prompt = GroundingPrompt("77", "the key", [[region]], color_names=[["red"]], painted=[[(0, 0, 30, 20)]])
        >>> prompt.text, len(prompt.copies)
        ('the key', 1)

        ```
    """

    key: str
    text: str
    copies: list[list[DetectedRegion]]
    color_names: list[list[str]]
    painted: list[list[Box]]


@dataclass(frozen=True)
class RelationPrompt:
    """Two painted regions of an image, as in CPT's feature files for Visual Genome.

    Attributes:
        picture: name of the image.
        pair: indices of the regions of the subject and the object.
        regions: all regions, with the features of the painted image.
        color_names: names of the colours of the subject and the object.
        names: names of the subject and the object.
        predicate: the relation, or `None` if the file does not have it.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import DetectedRegion, RelationPrompt
        >>> names = ["man", "horse"]
        >>> regions = [DetectedRegion((0, 0, 30, 20), name, np.zeros(2054, dtype=np.float32)) for name in names]
        >>> prompt = RelationPrompt("1.jpg", (0, 1), regions, ["red", "blue"], names, predicate="riding")
        >>> prompt.names, prompt.predicate
        (['man', 'horse'], 'riding')

        ```
    """

    picture: str
    pair: tuple[int, int]
    regions: list[DetectedRegion]
    color_names: list[str]
    names: list[str]
    predicate: str | None


class RegionFeatureFile:
    """TSV file of region features, whose lines are read on access.

    Args:
        path: `<name>.tsv`. The offsets of its lines are read from `<name>.lineidx`.
        region_feature_size: number of values in the feature of a region.

    Raises:
        OSError: if one of the files does not exist.
        ValueError: if the offsets do not belong to this file.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import DetectedRegion, RegionFeatureFile, encode_region, write_region_features
        >>> region = DetectedRegion((0, 0, 30, 20), "key", np.zeros(6, dtype=np.float32))
        >>> write_region_features("regions.tsv", [("1.jpg", {"objects": [encode_region(region)]})])
        >>> file = RegionFeatureFile("regions.tsv", region_feature_size=6)
        >>> len(file), file.regions(0)[0].label
        (1, 'key')

        ```
    """

    def __init__(self, path: str | os.PathLike, region_feature_size: int = REGION_FEATURE_SIZE):
        self.path = Path(path)
        self.region_feature_size = region_feature_size
        self._size = self.path.stat().st_size
        self._offsets = _read_index(self.path, self._size)

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, index: int) -> tuple[str, Any]:
        """Return the key and the JSON content of a line.

        Args:
            index: index of the line, counted from 0.

        Raises:
            ValueError: if the line is corrupt. The message names the file and the line.
        """
        start = self._offsets[index]
        end = self._offsets[index + 1] if index + 1 < len(self) else self._size
        if end - start > MAX_LINE_BYTES:
            raise self._error(index, f"it has {end - start} bytes, the limit is {MAX_LINE_BYTES}")
        with self.path.open("rb") as file:
            file.seek(start)
            line = file.read(end - start)
        if line.count(b"\n") > 1 or line.find(b"\n") not in (-1, len(line) - 1):
            raise self._error(index, f"{index_path(self.path)} lacks the start of a line in it")
        try:
            key, separator, content = line.decode("utf-8").rstrip("\r\n").partition("\t")
            if not separator:
                raise ValueError("there is no tab between a key and its JSON")
            return key, json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._error(index, str(error)) from error

    def regions(self, index: int) -> list[DetectedRegion]:
        """Return the regions of a line `{"objects": [region, …]}` or `{"objects": [[region, …], …]}`.

        Args:
            index: index of the line, counted from 0.

        Raises:
            ValueError: if the line is corrupt or of another kind. The message names the file and the line.
        """
        _, content = self.read(index)
        match content:
            case {"objects": [[*regions], *_]} | {"objects": [*regions]}:
                return self._regions(index, regions)
        raise self._error(index, "it contains no regions, {'objects': [{'rect': …, 'class': …, 'feature': …}, …]}")

    def grounding_prompt(self, index: int) -> GroundingPrompt:
        """Return the prompt of a line `{"objects": [copies, phrase, colour names, painted boxes]}`.

        Args:
            index: index of the line, counted from 0.

        Raises:
            ValueError: if the line is corrupt or of another kind. The message names the file and the line.
        """
        key, content = self.read(index)
        match content:
            case {"objects": [[*copies], str(text), [*colors], [*painted]]} if (
                len(copies) == len(colors) == len(painted) > 0
                and all(isinstance(each, list) for each in (*copies, *colors, *painted))
                and all(isinstance(name, str) for names in colors for name in names)
                and [len(names) for names in colors] == [len(boxes) for boxes in painted]
            ):
                return GroundingPrompt(
                    key,
                    text,
                    [self._regions(index, regions) for regions in copies],
                    colors,
                    [[self._box(index, box) for box in boxes] for boxes in painted],
                )
        raise self._error(index, "it contains no phrase with painted copies, [copies, phrase, colours, boxes]")

    def relation_prompt(self, index: int) -> RelationPrompt:
        """Return the prompt of a line about a pair of regions.

        The line is `<image>_<subject>_<object> TAB {"objects": [regions, colours, names, predicate]}`, where `regions`
        is `[region, …]` or `[[region, …]]`.

        Args:
            index: index of the line, counted from 0.

        Raises:
            ValueError: if the line is corrupt or of another kind. The message names the file and the line.
        """
        key, content = self.read(index)
        picture, *pair = key.rsplit("_", 2)
        match content:
            case {
                "objects": [
                    [[*regions]] | [*regions],
                    [str(), str()] as colors,
                    [str(), str()] as names,
                    predicate,
                ]
            } if (
                (predicate is None or isinstance(predicate, str))
                and len(pair) == 2
                and all(place.isascii() and place.isdigit() and int(place[:9]) < len(regions) for place in pair)
            ):
                subject, target = map(int, pair)
                return RelationPrompt(
                    picture, (subject, target), self._regions(index, regions), colors, names, predicate
                )
        raise self._error(
            index, ("it contains no pair of regions, {'objects': [[region, …], colours, names, predicate]}")
        )

    def _regions(self, index: int, regions: list[Any]) -> list[DetectedRegion]:
        return [self._region(index, place, region) for place, region in enumerate(regions)]

    def _region(self, index: int, place: int, region: Any) -> DetectedRegion:
        match region:
            case {"rect": rect, "class": str(label), "feature": str(feature)}:
                try:
                    decoded = base64.b64decode(feature, validate=True)
                except (binascii.Error, ValueError) as error:
                    raise self._error(index, f"the feature of region {place} is not valid base64: {error}") from error
                if len(decoded) != 4 * self.region_feature_size:
                    raise self._error(
                        index,
                        (
                            f"the feature of region {place} has {len(decoded)} bytes instead of 4 x "
                            f"{self.region_feature_size}"
                        ),
                    )
                numbers = np.frombuffer(decoded, dtype="<f4")
                if not np.isfinite(numbers).all():
                    raise self._error(index, f"the feature of region {place} contains NaN or infinity")
                return DetectedRegion(self._box(index, rect), label, numbers)
        raise self._error(index, f"region {place} is not an object with rect, class and feature")

    def _box(self, index: int, box: Any) -> Box:
        if not isinstance(box, list) or len(box) != 4 or any(type(number) not in (int, float) for number in box):
            raise self._error(index, f"a box is four numbers, [x1, y1, x2, y2], got {str(box)[:60]}")
        x1, y1, x2, y2 = map(float, box)
        return x1, y1, x2, y2

    def _error(self, index: int, problem: str) -> ValueError:
        return ValueError(f"{self.path}, line {index + 1}: {problem}. Create the file again, or leave the line out.")


def index_path(path: str | os.PathLike) -> Path:
    """Return the path of the file with the line offsets of a TSV file."""
    return Path(path).with_suffix(".lineidx")


def _read_index(path: Path, size: int) -> list[int]:
    index = index_path(path)
    if not index.is_file():
        raise FileNotFoundError(
            f"There is no {index} with the offsets of the lines of {path}. Create it with write_line_index."
        )
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise ValueError(f"{index} has {index.stat().st_size} bytes, the limit is {MAX_INDEX_BYTES}.")
    try:
        offsets = list(map(int, index.read_text(encoding="ascii").split()))
    except ValueError as error:
        raise ValueError(f"{index} is not a list of offsets with one integer per line: {error}") from error
    falling = any(later <= earlier for earlier, later in pairwise(offsets))
    if not offsets or offsets[0] != 0 or falling or offsets[-1] >= size:
        raise ValueError(
            f"{index} does not belong to {path}: its offsets do not increase from 0 to less than {size} bytes. "
            "Create it again with write_line_index."
        )
    return offsets


def write_line_index(path: str | os.PathLike) -> Path:
    """Write the line offsets of a TSV file to a file next to it.

    Args:
        path: `<name>.tsv`.

    Returns:
        The path of the file with the offsets, `<name>.lineidx`.

    Raises:
        ValueError: if a line has more than `MAX_LINE_BYTES`.
    """
    offsets: list[int] = []
    offset = 0
    with open(path, "rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"{path}, line {len(offsets) + 1}: the line has more than {MAX_LINE_BYTES} bytes.")
            offsets.append(offset)
            offset += len(line)
    with replacing(index_path(path)) as beside:
        beside.write_text("".join(f"{each}\n" for each in offsets), encoding="ascii")
    return index_path(path)


def write_region_features(path: str | os.PathLike, rows: Iterable[tuple[str, Any]]) -> None:
    """Write a TSV file of region features and the offsets of its lines.

    Args:
        path: `<name>.tsv`.
        rows: pairs of a key and JSON-serialisable content, in which regions are encoded by `encode_region`.

    Raises:
        ValueError: if a key holds a tab or a line break.

    Example:
        ```python
        >>> from pathlib import Path
        >>> from hf_prompt_models.data import write_region_features
        >>> write_region_features("regions.tsv", [("1.jpg", {"objects": []}), ("2.jpg", {"objects": []})])
        >>> sorted(file.name for file in Path().iterdir())
        ['regions.lineidx', 'regions.tsv']

        ```
    """
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for key, content in rows:
            if "\t" in key or "\n" in key:
                raise ValueError(f"The key {key!r} contains a tab or a line break. Remove it.")
            file.write(f"{key}\t{json.dumps(content)}\n")
    write_line_index(path)


def encode_region(region: DetectedRegion) -> dict[str, Any]:
    """Return a region in the JSON format of region feature files.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import DetectedRegion, encode_region
        >>> encode_region(DetectedRegion((0, 0, 30, 20), "key", np.zeros(2, dtype=np.float32)))
        {'rect': [0, 0, 30, 20], 'class': 'key', 'feature': 'AAAAAAAAAAA='}

        ```
    """
    feature = base64.b64encode(np.asarray(region.feature, dtype="<f4").tobytes()).decode("ascii")
    return {"rect": list(region.box), "class": region.label, "feature": feature}
