"""Payloads and filters for property tests: few values, so that they often meet."""

from __future__ import annotations

from hypothesis import strategies as st

from crossgraph.store.fields import FIELDS
from crossgraph.store.filter_tree import OPERATORS, And, Compare, Filter, Not, Or

texts = st.one_of(
    st.sampled_from(["Alps", "alps/snow 1.jpg", "STRASSE", "straße", "cafe\u0301", "café", "İ", "", "a'b\\\"c", " "]),
    st.text("aAbBßéÉ1 /.\\'\"\n\u0301\ud800", max_size=6),
)
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1e20, -33.25, 4000, 1e-7, 2**53]))
_DAYS = ["2019", "2020", "2020-02", "2020-12-31", "2021-01-01", "0001", "9999-12-31", "9999", "2020-05-03"]
_TIMES = ["2020-05-03T12", "2020-05-03T12:30", "2020-05-03 12:30:15", "2020-12-31T23:59:59"]
dates = st.sampled_from([*_DAYS, *_TIMES])
taken = dates | st.sampled_from(["2020-05-03T12:30:15.75", "2020-05-03T12:30:15+02:00", "unknown", "2020-02-30", ""])

_VALUES = {"text": texts | st.lists(texts, max_size=3), "number": numbers, "date": taken, "flag": st.booleans()}
_ODD = st.sampled_from([None, float("nan"), float("inf"), 10**400, True, 3, "text", []])
payloads = st.fixed_dictionaries({}, optional={field: _VALUES[kind] | _ODD for field, kind in FIELDS.items()})


Drawn = tuple[str, ...] | tuple[str, list["Drawn"]]
"""A filter as plain values: to make the tree is left to the test, for its type checks are no part of the drawing."""


@st.composite
def _comparisons(draw: st.DrawFn) -> Drawn:
    field = draw(st.sampled_from(sorted(FIELDS)))
    kind = FIELDS[field]
    values = {"text": texts, "number": numbers, "date": dates, "flag": st.sampled_from(["true", "false"])}
    return field, draw(st.sampled_from(OPERATORS[kind])), draw(values[kind])


def _joined(parts: st.SearchStrategy[Drawn]) -> st.SearchStrategy[Drawn]:
    several = st.tuples(st.sampled_from(["and", "or"]), st.lists(parts, min_size=2, max_size=3))
    return several | st.tuples(st.just("not"), parts.map(lambda part: [part]))


drawn_filters: st.SearchStrategy[Drawn] = st.recursive(_comparisons(), _joined, max_leaves=6)


def tree(drawn: Drawn) -> Filter:
    """Make the filter that was drawn."""
    if drawn[0] == "not":
        return Not(tree(drawn[1][0]))
    if drawn[0] in ("and", "or"):
        return (And if drawn[0] == "and" else Or)(tuple(tree(part) for part in drawn[1]))
    return Compare(*drawn)
