"""Filters on the fields of a picture: `date >= 2020 and path ~ 'alps'`.

`parse_filter` reads one, `write_filter` writes it, `matches` says what it means for one picture; the
classes build one in Python. The fields are in `crossgraph.store.fields`.
"""

from __future__ import annotations

from crossgraph.store.filter_parser import FilterError, parse_filter
from crossgraph.store.filter_tree import And, Compare, FieldError, Filter, Not, Or, all_of, matches, write_filter

__all__ = [
    "And",
    "Compare",
    "FieldError",
    "Filter",
    "FilterError",
    "Not",
    "Or",
    "all_of",
    "matches",
    "parse_filter",
    "write_filter",
]
