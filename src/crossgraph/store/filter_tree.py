"""Filters as a tree: `date >= 2020 and path ~ 'alps'` as objects, and what they mean for one picture.

The meaning is fixed here, by `matches`; engines answer as it does.

- A comparison with a field that the picture lacks never holds, not even `!=`; `not` of it then does.
- A date names a stretch of time: `date = 2020` is any moment of that year, `date <= 2020` ends with it.
- `=` on text is exact; `~` finds a part of it, whatever the case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.store.fields import (
    FIELDS,
    Kind,
    PayloadValue,
    Span,
    Texts,
    Value,
    comparable,
    fold,
    number,
    plain,
    span,
)

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
"""How a field is compared with a value."""

OPERATORS: Mapping[Kind, tuple[Operator, ...]] = {
    "text": ("=", "!=", "~"),
    "number": ("=", "!=", "<", "<=", ">", ">="),
    "date": ("=", "!=", "<", "<=", ">", ">="),
    "flag": ("=", "!="),
}
"""The comparisons that each kind of field takes."""

_WANTED: Mapping[Kind, str] = {
    "text": "text, quoted where it has spaces",
    "number": "a number",
    "date": "a year, month, day or time, as 2020, 2020-05, 2020-05-03 or 2020-05-03T12:30",
    "flag": "true or false",
}


class FieldError(InputError):
    """A comparison does not fit its field.

    Args:
        problem: What does not fit.
        remedy: What would.
        part: Which part of the comparison is at fault.
    """

    def __init__(self, problem: str, remedy: str, part: Literal["field", "op", "value"]) -> None:
        super().__init__(problem, remedy)
        self.part: Literal["field", "op", "value"] = part

    def __reduce__(self) -> tuple[type[InputError], tuple[str, ...]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Survive the trip between processes."""
        return type(self), (self.problem, self.remedy, self.part)


@dataclass(frozen=True)
class Compare:
    """One comparison: `width >= 3000`.

    Attributes:
        field: A name in `crossgraph.store.fields.FIELDS`.
        op: The comparison.
        value: A float for numbers; text for text; a date's beginning as text ("2020-05"); "true" or "false".

    Raises:
        FieldError: There is no such field, or it does not take the comparison or the value.
    """

    field: str
    op: Operator
    value: str | float | int

    def __post_init__(self) -> None:
        if self.field not in FIELDS:
            raise FieldError(f"there is no field '{_shown(self.field)}'", did_you_mean(self.field, FIELDS), "field")
        kind = FIELDS[self.field]
        if self.op not in OPERATORS[kind]:
            remedy = f"use {_listed(OPERATORS[kind])}"
            raise FieldError(f"{self.field} holds {_noun(kind)}, which '{self.op}' does not compare", remedy, "op")
        if not _fits(kind, self.value):
            problem = f"{self.field} holds {_noun(kind)}, and '{_shown(self.value)}' is none"
            raise FieldError(problem, f"write {_WANTED[kind]}", "value")
        if kind == "number":
            object.__setattr__(self, "value", float(self.value))

    @property
    def kind(self) -> Kind:
        """What the field holds."""
        return FIELDS[self.field]

    @property
    def span(self) -> Span:
        """The stretch of time that a date's value names."""
        found = span(str(self.value))
        if found is None:
            raise ValueError(f"{self.field} holds no date")
        return found


@dataclass(frozen=True)
class _Junction:
    """Filters joined by one word.

    Attributes:
        parts: Two or more.
    """

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise ValueError("takes two parts or more")


class And(_Junction):
    """Holds when every part holds."""


class Or(_Junction):
    """Holds when some part holds."""


@dataclass(frozen=True)
class Not:
    """Holds when its part does not.

    Attributes:
        part: What must not hold.
    """

    part: Filter


Filter = Compare | And | Or | Not
"""What a picture must fulfil."""


def all_of(parts: Sequence[Filter | None]) -> Filter | None:
    """Join filters by `and`; None, which everything fulfils, is left out."""
    given = tuple(part for part in parts if part is not None)
    return And(given) if len(given) > 1 else given[0] if given else None


def matches(filter: Filter, payload: Mapping[str, PayloadValue]) -> bool:
    """Return whether a picture fulfils a filter: the definition that every engine follows."""
    return holds(filter, comparable(payload))


def holds(filter: Filter, values: Mapping[str, Value]) -> bool:
    """Return whether values in comparable form fulfil a filter."""
    if isinstance(filter, And):
        return all(holds(part, values) for part in filter.parts)
    if isinstance(filter, Or):
        return any(holds(part, values) for part in filter.parts)
    if isinstance(filter, Not):
        return not holds(filter.part, values)
    value = values.get(filter.field)
    if value is None:
        return False
    if isinstance(value, Texts):
        return _text_holds(filter, value)
    if filter.kind == "date":
        return _within(filter.op, value, *filter.span)
    wanted = filter.value == "true" if filter.kind == "flag" else float(filter.value)
    return _ordered(filter.op, value, wanted)


def _text_holds(filter: Compare, texts: Texts) -> bool:
    wanted = str(filter.value)
    if filter.op == "~":
        return any(fold(wanted) in text for text in texts.folded)
    return (plain(wanted) in texts.exact) == (filter.op == "=")


def _within(op: Operator, moment: float | int, start: int, end: int) -> bool:
    inside = start <= moment < end
    answers = {"=": inside, "!=": not inside, "<": moment < start, "<=": moment < end}
    return answers.get(op, moment >= (end if op == ">" else start))


def _ordered(op: Operator, value: float | int, wanted: float | int) -> bool:
    if op in ("=", "!="):
        return (value == wanted) == (op == "=")
    if op in ("<", "<="):
        return value < wanted or (op == "<=" and value == wanted)
    return value > wanted or (op == ">=" and value == wanted)


def write_filter(filter: Filter) -> str:
    """Write a filter so that `parse_filter` reads the same tree."""
    if isinstance(filter, Compare):
        return f"{filter.field} {filter.op} {_written(filter)}"
    if isinstance(filter, Not):
        inner = write_filter(filter.part)
        return f"not ({inner})" if isinstance(filter.part, And | Or) else f"not {inner}"
    word = " and " if isinstance(filter, And) else " or "
    bare = Compare | Not if isinstance(filter, And) else Compare | Not | And
    return word.join(
        write_filter(part) if isinstance(part, bare) else f"({write_filter(part)})" for part in filter.parts
    )


def _written(filter: Compare) -> str:
    if isinstance(filter.value, str):
        if filter.kind == "flag":
            return filter.value
        escaped = filter.value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'" if filter.kind == "text" else f"'{filter.value}'" if " " in filter.value else filter.value
    value = float(filter.value)
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)


def _fits(kind: Kind, value: object) -> bool:
    if kind == "number":
        return number(value) is not None
    if not isinstance(value, str):
        return False
    return kind == "text" or (span(value) is not None if kind == "date" else value in ("true", "false"))


def _shown(value: object) -> str:
    """Show what was given, short and on one line."""
    text = "".join(sign if sign.isprintable() else " " for sign in str(value))
    return text if len(text) <= 40 else f"{text[:40]}…"


def _noun(kind: Kind) -> str:
    return {"text": "text", "number": "a number", "date": "a date", "flag": "a yes or no"}[kind]


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
