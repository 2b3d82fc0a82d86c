"""A data set without splits gets one: by picture, near-duplicates together, seeded, saved beside the data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.data.dataset import Log, split_name
from crossgraph.data.near_duplicates import difference_hashes, group_alike
from crossgraph.files import read_json, write_json

SPLITS_FILE = "splits.json"
FORMAT_VERSION = 1
SEED = 0
SHARES = {"test": 0.1, "dev": 0.1}
FEWEST = 50  # pictures of dev and of test, where a fifth of all is so many
LARGEST = 0.2  # share of all pictures that a group of near-duplicates may be


def find_or_make_splits(
    folder: Path, ids: Sequence[str], pictures: Sequence[Path], contents: Callable[[], Sequence[str]], log: Log
) -> Mapping[str, str]:
    """Return each picture's split: as `splits.json` says, or made and written there.

    Args:
        folder: Where the data lie.
        ids: The pictures.
        pictures: Their files, for near-duplicates; empty where they are not at hand.
        contents: Then gives for each picture what only an equal picture shares, or "" where unknown.
        log: Hears what was made.

    Raises:
        InputError: `splits.json` does not know a picture, or there are too few pictures to split.
    """
    path = folder / SPLITS_FILE
    if path.exists():
        known = _read(path)
        _check_known(path, known, ids)
        return {name: known[name] for name in ids}
    splits = assign(ids, _groups(pictures, contents, log), SEED)
    members = {name: [i for i in ids if splits[i] == name] for name in ("train", "dev", "test")}
    said = ", ".join(f"{name} {len(some):,}" for name, some in members.items())
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
        wanted, have = max(1, round(share * len(ids)), min(FEWEST, len(ids) // 5)), 0
        while have < wanted and len(queue) > 2 - list(SHARES).index(split):
            group = together[queue.pop(0)]
            have += len(group)
            result.update(dict.fromkeys(group, split))
    for group in queue:
        result.update(dict.fromkeys(together[group], "train"))
    return result


def _groups(pictures: Sequence[Path], contents: Callable[[], Sequence[str]], log: Log) -> Sequence[Hashable]:
    """Group near-duplicates; without the pictures, those whose regions are the same."""
    if not pictures:
        return [content or number for number, content in enumerate(contents())]
    hashes = difference_hashes(pictures)
    groups = group_alike(hashes)
    if max(Counter(groups).values()) > max(2, len(pictures) * LARGEST):
        log("note: many of the pictures look alike; only those that look the same are kept together in one split")
        groups = group_alike(hashes, near=0)
    return groups


def _read(path: Path) -> dict[str, str]:
    value = read_json(path)
    splits = value.get("splits") if isinstance(value, dict) else None
    remedy = f"remove it, and a new {SPLITS_FILE} is made"
    if not isinstance(splits, dict) or not all(isinstance(members, list) for members in splits.values()):
        raise InputError(f"{path}: names no splits", remedy)
    known: dict[str, str] = {}
    for split, members in splits.items():
        for name in members:
            if known.setdefault(str(name), split_name(str(split))) != split_name(str(split)):
                raise InputError(f"{path}: '{name}' stands in '{known[str(name)]}' and in '{split}'", remedy)
    return known


def _check_known(path: Path, known: Mapping[str, str], ids: Sequence[str]) -> None:
    new = [name for name in ids if name not in known]
    if new:
        raise InputError(
            f"{path}: does not know {len(new):,} of {len(ids):,} pictures ('{new[0]}')",
            "add them to a split there, or remove the file and new splits are made",
        )
