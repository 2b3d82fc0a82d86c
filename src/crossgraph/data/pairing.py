"""Pair captioned pictures with features: by path, by file name, or by number."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossgraph.core.errors import InputError

_COCO = re.compile(r"COCO_[a-z]+\d{4}_(\d{12})")


@dataclass(frozen=True)
class Name:
    """A picture's name.

    Attributes:
        path: Its path or file name as written.
        number: Its id where names are numbers ("391895"), or empty.
    """

    path: str
    number: str = ""


@dataclass(frozen=True)
class Pairing:
    """The result of `pair`.

    Attributes:
        rows: Row among the available for every wanted picture; None where there is none.
        extra: Rows that no wanted picture took.
    """

    rows: list[int | None]
    extra: list[int]


def pair(wanted: Sequence[Name], available: Sequence[str]) -> Pairing:
    """Find every wanted picture among the available ones.

    Of four keys the one that finds most is taken for all, so that a missing picture never gets another's features:
    the same path; one path the end of the other ("images/a.jpg", "a.jpg"); the same but for the file's ending
    ("a.png"); the same number ("COCO_val2014_000000391895.jpg", "391895").

    Raises:
        InputError: By the best key a name fits several pictures.
    """
    offered = [Name(path) for path in available]
    by_ending, by_stem = (_shortest_ending([*wanted, *offered], whole) for whole in (_clean, _stem))
    keys = ((_clean, _clean), (by_ending, by_ending), (by_stem, by_stem), (_number, _offered_number(wanted)))
    best: list[int | None] = [None] * len(wanted)
    most, clash = 0, ""
    for wanted_key, offered_key in keys:
        rows, own_clash = _match([wanted_key(n) for n in wanted], [offered_key(n) for n in offered], wanted, offered)
        count = sum(row is not None for row in rows)
        if count > most or (own_clash and not clash and not most):
            best, most, clash = rows, count, own_clash
        if most == len(wanted):
            break
    if clash:
        remedy = "extract the features from the folder that the captions' paths start in"
        raise InputError(f"pictures and features cannot be paired: {clash}", remedy)
    taken = set(best)
    return Pairing(best, [row for row in range(len(available)) if row not in taken])


def _match(
    wanted_keys: Sequence[str], offered_keys: Sequence[str], wanted: Sequence[Name], offered: Sequence[Name]
) -> tuple[list[int | None], str]:
    """Pair by equal keys that are not empty; one that several share on either side pairs nothing and is reported."""
    of_key: dict[str, tuple[list[int], list[int]]] = {}
    for side, keys in enumerate((wanted_keys, offered_keys)):
        for row, key in enumerate(keys):
            if key:
                of_key.setdefault(key, ([], []))[side].append(row)
    rows: list[int | None] = [None] * len(wanted)
    clash = ""
    for key, (wanted_rows, offered_rows) in of_key.items():
        if len(wanted_rows) == len(offered_rows) == 1:
            rows[wanted_rows[0]] = offered_rows[0]
        elif wanted_rows and offered_rows and not clash:
            several = [offered[r] for r in offered_rows] if len(offered_rows) > 1 else [wanted[r] for r in wanted_rows]
            clash = f"'{several[0].path}' and '{several[1].path}' are both called '{key}'"
    return rows, clash


def _shortest_ending(names: Sequence[Name], whole: Callable[[Name], str]) -> Callable[[Name], str]:
    """Return a key equal for paths one of which is the other's end: the shortest end that is a whole path."""
    known = {whole(name) for name in names}

    def key(name: Name) -> str:
        parts = whole(name).split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts) - 1, -1, -1))
        return next(end for end in ends if end in known)

    return key


def _clean(name: Name) -> str:
    return name.path.replace("\\", "/").removeprefix("./").lstrip("/")


def _stem(name: Name) -> str:
    folder, slash, file = _clean(name).rpartition("/")
    return f"{folder}{slash}{file.rpartition('.')[0] or file}"


def _number(name: Name) -> str:
    """Return the picture's number without leading zeros; empty where its name is none."""
    stem = _stem(name).rpartition("/")[2]
    coco = _COCO.fullmatch(stem)
    digits = name.number or (coco[1] if coco else stem)
    return (digits.lstrip("0") or "0") if digits.isdecimal() else ""


def _offered_number(wanted: Sequence[Name]) -> Callable[[Name], str]:
    """Return the key of available names: in folders, plain numbers count only if all pictures are wanted by number."""
    if all(name.number for name in wanted):
        return _number
    return lambda name: _number(name) if "/" not in _clean(name) or _COCO.search(name.path) else ""
