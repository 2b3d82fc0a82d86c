"""The fields that pictures are filtered by, and the one form in which every engine compares them."""

from __future__ import annotations

import calendar
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Literal, NamedTuple

Kind = Literal["text", "number", "date", "flag"]
"""What a field holds: text, a number, a moment in local time, or true/false."""

FIELDS: Mapping[str, Kind] = MappingProxyType(
    {
        "path": "text",
        "name": "text",
        "folder": "text",
        "root": "text",
        "caption": "text",
        "camera": "text",
        "date": "date",
        "width": "number",
        "height": "number",
        "megapixels": "number",
        "latitude": "number",
        "longitude": "number",
        "hidden": "flag",
    }
)
"""All fields, with what they hold. Other keys of a payload are not kept and cannot be asked for."""

PayloadValue = str | int | float | bool | Sequence[str] | None
"""What a payload may hold. A sequence of texts holds whatever one of them holds."""

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)([.,]\d+)?)?)?)?)?)?")
_ZONE = re.compile(r"(?:[Zz]|[+-]\d\d(?::?\d\d)?)$")
_DAY = 86_400


class Texts(NamedTuple):
    """One or several texts of a field.

    Attributes:
        exact: As given, for `=`.
        folded: Without case, for `~`.
    """

    exact: tuple[str, ...]
    folded: tuple[str, ...]


Value = Texts | float | int | bool
"""A value in comparable form: texts, a number as float, a date as seconds, true or false."""


class Span(NamedTuple):
    """A stretch of local time, in seconds since the year 1.

    Attributes:
        start: Its first second.
        end: The first second after it.
    """

    start: int
    end: int


def plain(text: str) -> str:
    """Bring a text to one spelling: composed characters, no broken ones (file names may hold them)."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))


def fold(text: str) -> str:
    """Bring a text to the form in which case does not matter."""
    return unicodedata.normalize("NFC", plain(text).casefold())


def span(text: str) -> Span | None:
    """Read a year, month, day, hour, minute or second, as "2020", "2020-05" or "2020-05-03T12:30".

    Returns:
        All of the time that it names, or None where it names none.
    """
    found = _DATE.fullmatch(text)
    if not found or found[7]:
        return None
    return _span(found)


def seconds(text: str) -> int | None:
    """Read when a picture was taken: as `span`, but fractions are cut and a time zone is passed over.

    Returns:
        Seconds of local time since the year 1; the first one where only a day, month or year is known.
    """
    found = _DATE.fullmatch(_ZONE.sub("", text) if len(text) > 10 else text)
    read = _span(found) if found else None
    return read.start if read else None


def _span(found: re.Match[str]) -> Span | None:
    year, month, day, hour, minute, second = (None if part is None else int(part) for part in found.groups()[:6])
    try:
        begin = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0)
    except ValueError:
        return None
    start = (begin - datetime(1, 1, 1)) // (datetime(1, 1, 1, 0, 0, 1) - datetime(1, 1, 1))
    if month is None:
        length = (366 if calendar.isleap(begin.year) else 365) * _DAY
    elif day is None:
        length = calendar.monthrange(begin.year, begin.month)[1] * _DAY
    else:
        length = _DAY if hour is None else 3600 if minute is None else 60 if second is None else 1
    return Span(start, start + length)


def comparable(payload: Mapping[str, PayloadValue]) -> dict[str, Value]:
    """Bring a payload to comparable form.

    Args:
        payload: Fields of a picture; what is None, empty, of another kind than the field, or no number
            counts as missing.

    Returns:
        The known fields that hold something.
    """
    read = {field: _comparable(FIELDS[field], value) for field, value in payload.items() if field in FIELDS}
    return {field: value for field, value in read.items() if value is not None}


def _comparable(kind: Kind, value: PayloadValue) -> Value | None:
    if kind == "flag":
        return value if isinstance(value, bool) else None
    if kind == "number":
        return number(value)
    if isinstance(value, str):
        return seconds(value) if kind == "date" else Texts((plain(value),), (fold(value),))
    if kind == "text" and isinstance(value, Sequence) and value:
        return Texts(tuple(map(plain, value)), tuple(map(fold, value)))
    return None


def known(payload: Mapping[str, PayloadValue]) -> dict[str, str | int | float | bool | list[str] | None]:
    """Return the known fields of a payload, ready to be written as JSON."""
    return {
        field: value if value is None or isinstance(value, str | int | float) else list(value)
        for field, value in payload.items()
        if field in FIELDS
    }


def number(value: object) -> float | None:
    """Read a finite number; None where the value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        read = float(value)
    except OverflowError:
        return None
    return read if math.isfinite(read) else None
