"""Which features belong to which captioned picture: by path, by file name, or by number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from crossgraph.core.errors import InputError


@dataclass(frozen=True)
class Name:
    """What a picture is called.

    Attributes:
        path: Its path or file name as written, with forward slashes.
        number: Its id in its source ("391895"), or empty.
    """

    path: str
    number: str = ""


@dataclass
class Pairing:
    """What was found.

    Attributes:
        rows: Row among the available for every wanted picture; None where there is none.
        extra: Rows that no wanted picture took.
    """

    rows: list[int | None]
    extra: list[int] = field(default_factory=list[int])


def pair(wanted: Sequence[Name], available: Sequence[str]) -> Pairing:
    """Find every wanted picture among the available ones.

    Tried in turn, each where the last found nothing: the same path; one path the end of the other
    ("images/a.jpg", "a.jpg"); the same file name; the same file name but for its ending; the same number
    ("COCO_val2014_000000391895.jpg", "391895").

    Raises:
        InputError: A name fits several pictures, so that no choice would be safe.
    """
    exact = {path: row for row, path in enumerate(available)}
    rows: list[int | None] = [exact.get(name.path) for name in wanted]
    for key in (_ending(wanted, available), _file_name, _stem, _number):
        missing = [place for place, row in enumerate(rows) if row is None]
        if not missing:
            break
        free = set(range(len(available))) - {row for row in rows if row is not None}
        candidates = _grouped(((row, key(Name(available[row]))) for row in sorted(free)))
        claims = _grouped(((place, key(wanted[place])) for place in missing))
        for what, places in claims.items():
            found = candidates.get(what, [])
            if found and (len(found) > 1 or len(places) > 1):
                names = [available[row] for row in found] if len(found) > 1 else [wanted[place].path for place in places]
                raise InputError(
                    f"'{names[0]}' and '{names[1]}' cannot be told apart by '{what}'",
                    "extract the features from the folder that the captions' paths start in",
                )
            if found:
                rows[places[0]] = found[0]
    taken = {row for row in rows if row is not None}
    return Pairing(rows, [row for row in range(len(available)) if row not in taken])


def _grouped(entries: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, key in entries:
        if key:
            groups.setdefault(key, []).append(place)
    return groups


def _ending(wanted: Sequence[Name], available: Sequence[str]) -> Callable[[Name], str]:
    """Return a key equal for paths one of which is the other's end: the longest end that is a whole path."""
    whole = {_clean(name.path) for name in wanted} | {_clean(path) for path in available}

    def key(name: Name) -> str:
        path = _clean(name.path)
        shortest = path
        place = path.find("/")
        while place >= 0:
            if path[place + 1 :] in whole:
                shortest = path[place + 1 :]
            place = path.find("/", place + 1)
        return shortest

    return key


def _clean(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./").lstrip("/")


def _file_name(name: Name) -> str:
    return _clean(name.path).rpartition("/")[2]


def _stem(name: Name) -> str:
    file = _file_name(name)
    return file.rpartition(".")[0] or file


def _number(name: Name) -> str:
    """Return the picture's number without leading zeros: its own id, or what its file name ends in."""
    if name.number:
        return name.number.lstrip("0") or name.number
    stem = _stem(name)
    digits = stem[len(stem.rstrip("0123456789")) :]
    return (digits.lstrip("0") or digits) if stem in (digits, f"{stem[: -len(digits) or None]}{digits}") else ""
