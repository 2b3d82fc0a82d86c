"""A data set without splits gets one: by picture, near-duplicates together, seeded, saved beside the data."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.data.dataset import Log
from crossgraph.data.progress import Ticker
from crossgraph.data.split import FeatureSource
from crossgraph.files import read_json, write_json

SPLITS_FILE = "splits.json"
FORMAT_VERSION = 1
SEED = 0
SHARES = {"test": 0.1, "dev": 0.1}
SAME = 3  # bits of 64 in which the hashes of near-duplicates may differ


def find_or_make_splits(
    folder: Path, ids: Sequence[str], pictures: Sequence[Path], features: FeatureSource, log: Log
) -> Mapping[str, str]:
    """Return each picture's split: as `splits.json` says, or made and written there.

    Args:
        folder: Where the data lie.
        ids: The pictures.
        pictures: Their files, for near-duplicates; without them identical features count as duplicates.
        features: Their features.
        log: Hears what was made.

    Raises:
        InputError: `splits.json` does not know a picture, or there are too few pictures to split.
    """
    path = folder / SPLITS_FILE
    if path.exists():
        return _read(path, ids)
    groups = _groups(ids, pictures, features)
    splits = assign(ids, groups, SEED)
    counts = {name: sum(split == name for split in splits.values()) for name in ("train", "dev", "test")}
    members = {name: [i for i in ids if splits[i] == name] for name in counts}
    said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    try:
        write_json(path, {"format_version": FORMAT_VERSION, "seed": SEED, "splits": members})
        log(f"note: no splits given; made by picture: {said}; saved as {path}")
    except InputError as error:
        log(f"note: no splits given; made by picture: {said}; the same each time, though not saved ({error.problem})")
    return splits


def assign(ids: Sequence[str], groups: Sequence[Hashable], seed: int) -> dict[str, str]:
    """Share pictures out so that no group is torn apart.

    Args:
        ids: The pictures.
        groups: The group of each.
        seed: Of the order in which groups are drawn.

    Returns:
        The split of each picture; dev and test have at least one group each.

    Raises:
        InputError: There are fewer than three groups.
    """
    members: dict[Hashable, list[str]] = defaultdict(list)
    for name, group in sorted(zip(ids, groups, strict=True), key=lambda item: item[0]):
        members[group].append(name)
    together = list(members.values())
    if len(together) < 3:
        raise InputError(
            f"{len(ids)} pictures, {len(together)} of them different, are too few to make splits",
            "give at least three different pictures, or name the splits yourself",
        )
    order = np.random.default_rng(seed).permutation(len(together))
    # large groups go to train, so that one burst of near-duplicates cannot be a whole dev split
    order = sorted(order, key=lambda g: len(together[g]) > max(1, len(ids) // 20))
    result: dict[str, str] = {}
    queue = list(order)
    for split, share in SHARES.items():
        wanted, have = max(1, round(share * len(ids))), 0
        while have < wanted and len(queue) > 2 - list(SHARES).index(split):
            group = together[queue.pop(0)]
            have += len(group)
            result.update(dict.fromkeys(group, split))
    for group in queue:
        result.update(dict.fromkeys(together[group], "train"))
    return result


def near_duplicates(hashes: Sequence[int | None]) -> list[int]:
    """Group pictures whose 64-bit hashes differ in at most three bits, transitively.

    Args:
        hashes: One a picture; None stands alone.

    Returns:
        A group number a picture.
    """
    parent = list(range(len(hashes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    # of four 16-bit parts at least one is equal where at most three bits differ
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, value in enumerate(hashes):
        if value is None:
            continue
        for part in range(4):
            bucket = buckets[part, (value >> (16 * part)) & 0xFFFF]
            for j in bucket:
                other = hashes[j]
                if other is not None and (value ^ other).bit_count() <= SAME:
                    parent[root(i)] = root(j)
                    if value == other:
                        break  # its neighbours are ours
            else:
                bucket.append(i)
    return [root(i) for i in range(len(hashes))]


def picture_hash(path: Path) -> int | None:
    """Return a picture's difference hash: is each of 8 × 8 grey cells brighter than its right neighbour?"""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.draft("L", (64, 64))
            small = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    except Exception:  # noqa: BLE001 - a broken picture has no duplicates; extraction names the reason
        return None
    return int.from_bytes(np.packbits(small[:, :-1] > small[:, 1:]).tobytes(), "big")


def _groups(ids: Sequence[str], pictures: Sequence[Path], features: FeatureSource) -> Sequence[Hashable]:
    if pictures:
        hashes: list[int | None] = []
        with Ticker("comparing pictures", len(pictures), "pictures") as ticker:
            for done, path in enumerate(pictures, start=1):
                hashes.append(picture_hash(path))
                ticker.update(done)
        return near_duplicates(hashes)
    return [hashlib.sha256(features.read([i]).features.numpy().tobytes()).hexdigest() for i in range(len(ids))]


def _read(path: Path, ids: Sequence[str]) -> dict[str, str]:
    value = read_json(path)
    splits = value.get("splits") if isinstance(value, dict) else None
    if not isinstance(splits, dict) or not all(isinstance(members, list) for members in splits.values()):
        raise InputError(f"{path}: names no splits", f"remove it, and a new {SPLITS_FILE} is made")
    known = {str(name): str(split) for split, members in splits.items() for name in members}
    new = [name for name in ids if name not in known]
    if new:
        raise InputError(
            f"{path}: does not know {len(new):,} of {len(ids):,} pictures ('{new[0]}')",
            "add them to a split there, or remove the file and new splits are made",
        )
    return {name: known[name] for name in ids}
