"""Parting records so that what belongs together stays together."""

import random
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise


def split_by_id(ids: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Part records so that those of one id stay together.

    The same ids, shares and seed give the same parts, whatever the order of the records.

    Args:
        ids: one a record.
        shares: what part of the ids each part gets, as `{"train": 0.8, "test": 0.2}`; together 1.
        seed: another seed, another split.

    Returns:
        The indices of each part's records, in their order.

    Raises:
        ValueError: if the shares are not positive or not together 1, or a part would be empty.
    """
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"Shares must be positive and together 1; got {dict(shares)}.")
    different = sorted(set(ids))
    random.Random(f"split/{seed}").shuffle(different)
    ends = [round(len(different) * end) for end in accumulate(shares.values(), initial=0.0)]
    part_of: dict[str, str] = {}
    for name, (start, end) in zip(shares, pairwise(ends), strict=True):
        if start == end:
            raise ValueError(f"The part {name!r} would be empty: there are {len(different)} different ids.")
        part_of |= dict.fromkeys(different[start:end], name)
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for index, record_id in enumerate(ids):
        parts[part_of[record_id]].append(index)
    return parts
