"""Filters and payloads in the form of Qdrant's REST interface, which both of its engines are given.

A text is stored twice: as it is, and without case under NAME_folded, which is indexed for `~`. `=` compares the
first: by an index of its own where many pictures share a text, else after the index of the second found candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossgraph.store.fields import FIELDS, PayloadValue, Texts, Value, comparable, fold, plain
from crossgraph.store.filter_tree import And, Compare, Filter, Not, Or

Condition = dict[str, object]
"""A condition as the REST interface has it."""

Stored = dict[str, int | float | list[str]]
"""A payload as it is stored."""

_FOLDED = "_folded"
_SCHEMAS = {"text": "keyword", "number": "float", "date": "integer", "flag": "integer"}
_REPEATED = ("folder", "root", "camera")
INDICES: Mapping[str, str] = {
    **{field + (_FOLDED if kind == "text" else ""): _SCHEMAS[kind] for field, kind in FIELDS.items()},
    **dict.fromkeys(_REPEATED, _SCHEMAS["text"]),
}
"""The stored fields that are indexed, with the kind of index."""

LINKED = ["folder", "camera", "date"]
"""The stored fields whose values get edges of their own in Edge's graph: for the filters that people use most, and no
more than these, for each makes building longer."""


def stored(payload: Mapping[str, PayloadValue]) -> Stored:
    """Return what is stored of a payload."""
    kept: Stored = {}
    for field, value in comparable(payload).items():
        if isinstance(value, Texts):
            kept[field] = list(value.exact)
            kept[field + _FOLDED] = list(value.folded)
        else:
            kept[field] = int(value) if isinstance(value, bool) else value  # Edge compares no booleans
    return kept


def restored(kept: Mapping[str, Any]) -> dict[str, Value]:
    """Bring what was stored back to comparable form."""
    return {
        field: Texts(tuple(kept[field]), tuple(kept[field + _FOLDED])) if kind == "text" else kept[field]
        for field, kind in FIELDS.items()
        if field in kept
    }


def native(filter: Filter) -> Condition:
    """Return a filter as a REST filter, an object of `must`, `should` and `must_not`."""
    condition = _condition(filter)
    return {"must": [condition]} if "key" in condition or "is_empty" in condition else condition


def comparisons(filter: Filter) -> Iterator[Compare]:
    """Go through all comparisons of a filter."""
    if isinstance(filter, Compare):
        yield filter
    else:
        for part in (filter.part,) if isinstance(filter, Not) else filter.parts:
            yield from comparisons(part)


def _condition(filter: Filter) -> Condition:
    if isinstance(filter, And):
        return {"must": [_condition(part) for part in filter.parts]}
    if isinstance(filter, Or):
        return {"should": [_condition(part) for part in filter.parts]}
    if isinstance(filter, Not):
        return {"must_not": [_condition(filter.part)]}
    if filter.op == "!=":
        missing: Condition = {"is_empty": {"key": filter.field + (_FOLDED if filter.kind == "text" else "")}}
        return {"must_not": [missing, _condition(Compare(filter.field, "=", filter.value))]}
    if filter.kind == "text":
        return _text(filter)
    if filter.kind == "flag":
        return {"key": filter.field, "match": {"value": int(filter.value == "true")}}
    return {"key": filter.field, "range": _range(filter)}


def _text(filter: Compare) -> Condition:
    key, wanted = filter.field + _FOLDED, str(filter.value)
    if filter.op == "~":
        if not wanted:
            return {"must_not": [{"is_empty": {"key": key}}]}
        return {"key": key, "match": {"substring": fold(wanted)}}
    exact: Condition = {"key": filter.field, "match": {"value": plain(wanted)}}
    if filter.field in _REPEATED:
        return exact
    return {"must": [{"key": key, "match": {"value": fold(wanted)}}, exact]}


def _range(filter: Compare) -> dict[str, float]:
    names = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
    if filter.kind != "date":
        value = float(filter.value)
        return {"gte": value, "lte": value} if filter.op == "=" else {names[filter.op]: value}
    start, end = map(float, filter.span)
    if filter.op == "=":
        return {"gte": start, "lt": end}
    return {"<": {"lt": start}, "<=": {"lt": end}, ">": {"gte": end}, ">=": {"gte": start}}[filter.op]
