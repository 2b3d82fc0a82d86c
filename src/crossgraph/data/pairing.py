"""Which features belong to which captioned picture: by path, by file name, or by number."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossgraph.core.errors import InputError

_COCO = re.compile(r"COCO_[a-z]+\d{4}_(\d{12})")


@dataclass(frozen=True)
class Name:
    """What a picture is called.

    Attributes:
        path: Its path or file name as written.
        number: Its id where names are numbers ("391895"), or empty.
    """

    path: str
    number: str = ""


@dataclass(frozen=True)
class Pairing:
    """What was found.

    Attributes:
        rows: Row among the available for every wanted picture; None where there is none.
        extra: Rows that no wanted picture took.
    """

    rows: list[int | None]
    extra: list[int]


def pair(wanted: Sequence[Name], available: Sequence[str]) -> Pairing:
    """Find every wanted picture among the available ones.

    Of four ways the one that finds most is taken for all, so that a missing picture never gets another's
    features: the same path; one path the end of the other ("images/a.jpg", "a.jpg"); the same but for
    the file's ending ("a.png"); the same number ("COCO_val2014_000000391895.jpg", "391895").

    Raises:
        InputError: By the best way a name fits several pictures.
    """
    offered = [Name(path) for path in available]
    by_ending, by_stem = (_ending(wanted, offered, whole) for whole in (_clean, _stem))
    ways = ((_clean, _clean), (by_ending, by_ending), (by_stem, by_stem), (_number, _offered_number(wanted)))
    best: list[int | None] = [None] * len(wanted)
    doubtful = ""
    for wanted_key, offered_key in ways:
        rows, clash = _match(list(map(wanted_key, wanted)), list(map(offered_key, offered)), wanted, offered)
        if _found(rows) > _found(best) or (clash and not doubtful and not _found(best)):
            best, doubtful = rows, clash
        if _found(best) == len(wanted):
            break
    if doubtful:
        remedy = "extract the features from the folder that the captions' paths start in"
        raise InputError(f"pictures and features cannot be paired: {doubtful}", remedy)
    taken = {row for row in best if row is not None}
    return Pairing(best, [row for row in range(len(available)) if row not in taken])


def _match(
    wanted_keys: Sequence[str], offered_keys: Sequence[str], wanted: Sequence[Name], offered: Sequence[Name]
) -> tuple[list[int | None], str]:
    """Pair by equal keys; a key that several share on either side pairs nothing and is reported."""
    groups, claims = _places(offered_keys), _places(wanted_keys)
    rows: list[int | None] = [None] * len(wanted)
    clash = ""
    for key, places in claims.items():
        found = groups.get(key, [])
        if len(found) == len(places) == 1:
            rows[places[0]] = found[0]
        elif found and not clash:
            several = [offered[row] for row in found] if len(found) > 1 else [wanted[place] for place in places]
            clash = f"'{several[0].path}' and '{several[1].path}' are both called '{key}'"
    return rows, clash


def _places(keys: Sequence[str]) -> dict[str, list[int]]:
    """Return where each key stands; an empty one is none."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        if key:
            places.setdefault(key, []).append(place)
    return places


def _found(rows: Sequence[int | None]) -> int:
    return sum(row is not None for row in rows)


def _ending(wanted: Sequence[Name], offered: Sequence[Name], whole: Callable[[Name], str]) -> Callable[[Name], str]:
    """Return a key equal for paths one of which is the other's end: the shortest end that is a whole path."""
    known = {whole(name) for name in wanted} | {whole(name) for name in offered}

    def key(name: Name) -> str:
        path = whole(name)
        parts = path.split("/")
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
    """Return the key of the available: in folders, plain numbers say nothing unless pictures are wanted by number."""
    if all(name.number for name in wanted):
        return _number
    return lambda name: _number(name) if "/" not in _clean(name) or _COCO.search(name.path) else ""
