"""Splits of records that keep records with the same ID together."""

import random
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise


def split_by_id(ids: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Split records into parts so that records with the same ID are in the same part.

    The same IDs, fractions and seed give the same parts, whatever the order of the records.

    Args:
        ids: ID of each record.
        shares: fraction of the IDs in each part, such as `{"train": 0.8, "test": 0.2}`. The sum must be 1.
        seed: seed of the split.

    Returns:
        The indices of the records in each part, in ascending order.

    Raises:
        ValueError: if a fraction is not positive, the sum is not 1, or a part would be empty.
    """
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"Expected positive shares with the sum 1, got {dict(shares)}.")
    different = sorted(set(ids))
    random.Random(f"split/{seed}").shuffle(different)
    ends = [round(len(different) * end) for end in accumulate(shares.values(), initial=0.0)]
    part_of: dict[str, str] = {}
    for name, (start, end) in zip(shares, pairwise(ends), strict=True):
        if start == end:
            raise ValueError(
                f"The part {name!r} would be empty, because there are only {len(different)} different ids. Add "
                "data, or use fewer parts."
            )
        part_of |= dict.fromkeys(different[start:end], name)
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for index, record_id in enumerate(ids):
        parts[part_of[record_id]].append(index)
    return parts
