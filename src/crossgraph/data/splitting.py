"""Make splits where a data set has none: by picture, near-duplicates together, seeded, saved in `splits.json`.

The file is extended when the data grow. Models were trained and chosen on what it says, so that no picture that it
knows is ever moved.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.data.dataset import Log, in_order, split_name
from crossgraph.data.near_duplicates import difference_hashes, group_alike
from crossgraph.data.pairing import Name, pair
from crossgraph.files import read_json, write_json

SPLITS_FILE = "splits.json"
FORMAT_VERSION = 1
SEED = 0
SHARES = {"test": 0.1, "dev": 0.1}
FEWEST = 50  # pictures of dev and of test, where a fifth of all is so many
LARGEST = 0.2  # share of all pictures that a group of near-duplicates may be

Evidence = Callable[[], tuple[Sequence[Path | None], Sequence[str]]]


def find_or_make_splits(folder: Path, ids: Sequence[str], evidence: Evidence, log: Log) -> Mapping[str, str]:
    """Return each picture's split: as `splits.json` says, or made and written there.

    Pictures that the file does not know join train, those like a known picture its split; the file is extended, and
    what it said stays, also of pictures that are gone: one that returns has its split again.

    Args:
        folder: Where the data lie.
        ids: The pictures.
        evidence: Returns every picture's file, None where it is not at hand, and then what only an equal picture
            shares, or "" where unknown; called only where pictures have no split.
        log: Called with a note of what was made or added.

    Raises:
        InputError: `splits.json` is of other data or broken, or there are too few pictures to split.
    """
    path = folder / SPLITS_FILE
    if path.exists():
        return _extend(path, ids, evidence, log)
    splits = assign(ids, _groups(*evidence(), log), SEED)
    members = {split: [name for name in ids if splits[name] == split] for split in ("train", "dev", "test")}
    counts = ", ".join(f"{split} {len(names):,}" for split, names in members.items())
    value = {"format_version": FORMAT_VERSION, "seed": SEED, "splits": members}
    _save(path, value, log, f"no splits given; made by picture: {counts}")
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


def _extend(path: Path, ids: Sequence[str], evidence: Evidence, log: Log) -> Mapping[str, str]:
    """Return the splits of a file, extended by the pictures that it does not know."""
    value, known = _read(path)
    new = [name for name in ids if name not in known]
    gone = sorted(known.keys() - set(ids))
    renamed = _renamed(new, gone)
    if len(new) == len(ids) and not renamed:
        raise InputError(
            f"{path}: knows none of these {len(ids):,} pictures ('{new[0]}'), it is of other data",
            "keep it with its data, and give this data a folder of its own",
        )
    gone = sorted(set(gone) - set(renamed.values()))
    earlier_paths = set(_renamed([name for name in ids if name in known], gone).values())
    if lost := [name for name in gone if name not in earlier_paths]:
        log(f"note: {path}: {len(lost):,} of its pictures are not in the data now ('{lost[0]}'); it keeps their splits")
    splits = {name: known[name] for name in ids if name in known}
    splits |= {name: known[former] for name, former in renamed.items()}
    if len(splits) == len(ids):
        alike, unseen = dict[str, str](), set[str]()
    else:
        paths, contents = evidence()
        alike = _splits_of_alike(ids, splits, _groups(paths, contents, log))
        # with neither file nor features at hand it may be like a picture of test: nothing is written of it yet
        unseen = {name for name, *seen in zip(ids, paths, contents, strict=True) if seen == [None, ""]}
    splits = {name: splits.get(name) or alike.get(name, "train") for name in ids}
    if added := [name for name in new if name in renamed or name not in unseen]:
        written = {split_name(str(name)): members for name, members in value["splits"].items()}
        for name in added:
            if splits[name] not in written:
                written[splits[name]] = value["splits"][splits[name]] = []
            written[splits[name]].append(name)
        _save(path, value, log, _describe_growth(added, renamed, alike, splits))
    return splits


def _renamed(new: Sequence[str], gone: Sequence[str]) -> dict[str, str]:
    """Return the former names of pictures whose folder or ending has changed."""
    try:
        rows = pair([Name(name) for name in new], gone).rows
    except InputError:  # names that fit several
        return {}
    return {name: gone[row] for name, row in zip(new, rows, strict=True) if row is not None}


def _splits_of_alike(ids: Sequence[str], splits: Mapping[str, str], groups: Sequence[int]) -> dict[str, str]:
    """Return the splits of pictures without one whose groups hold pictures with one.

    Where a group has pictures in several splits, test comes first and train last: nothing that is like a test
    picture is added to train.
    """
    of_group: dict[int, str] = {}
    for name, group in zip(ids, groups, strict=True):
        if split := splits.get(name):
            of_group[group] = max(split, of_group.get(group, split), key=lambda s: (s == "test") - (s == "train"))
    members = zip(ids, groups, strict=True)
    return {name: of_group[group] for name, group in members if name not in splits and group in of_group}


def _describe_growth(
    new: Sequence[str], renamed: Mapping[str, str], alike: Mapping[str, str], splits: Mapping[str, str]
) -> str:
    parts: list[str] = []
    for kind, names in (
        ("new pictures", [name for name in new if name not in renamed and name not in alike]),
        ("new pictures like known ones", [name for name in new if name in alike]),
        ("known pictures under another path", [name for name in new if name in renamed]),
    ):
        if names:
            counts = Counter(splits[name] for name in names)
            parts.append(
                f"{len(names):,} {kind} ({', '.join(f'{name} {counts[name]:,}' for name in in_order(counts))})"
            )
    return "; ".join(parts)


def _save(path: Path, value: object, log: Log, change: str) -> None:
    try:
        write_json(path, value)
        log(f"note: {change}; saved as {path}")
    except InputError as error:
        log(f"note: {change}; the same each time, though not saved ({error.problem})")


def _groups(paths: Sequence[Path | None], contents: Sequence[str], log: Log) -> list[int]:
    """Group near-duplicates, and pictures with the same features where their files are not at hand."""
    hashes = difference_hashes(paths)
    groups = group_alike(hashes, contents=contents)
    if any(hashes) and max(Counter(groups).values()) > max(2, len(paths) * LARGEST):
        log("note: many of the pictures look alike; only those that look the same are kept together in one split")
        groups = group_alike(hashes, 0, contents)
    return groups


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the parsed file, and the split of each of its pictures."""
    remedy = 'mend it, or bring back a copy: {"splits": {"train": [...], "dev": [...], "test": [...]}}'
    try:
        value = read_json(path)
    except InputError as error:
        raise InputError(error.problem, remedy) from error
    splits = value.get("splits") if isinstance(value, dict) else None
    if not isinstance(splits, dict) or not all(isinstance(members, list) for members in splits.values()):
        raise InputError(f"{path}: names no splits", remedy)
    known: dict[str, str] = {}
    for split, members in splits.items():
        for name in members:
            if known.setdefault(str(name), split_name(str(split))) != split_name(str(split)):
                problem = f"{path}: '{name}' stands in '{known[str(name)]}' and in '{split}'"
                raise InputError(problem, "keep it in the split in which it was when a model was trained")
    return value, known
