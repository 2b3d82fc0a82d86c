"""Explanation measures of the cards as a table, whatever measures the cards hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from crossgraph.report.views import View

_MEANINGS = {
    "pointing": "Pointing game: how often a word's strongest region lies in the box of the thing it names.",
    "energy": "Energy: the share of a word's weight that lies inside the box of the thing it names.",
    "deletion": "Deletion: how far the score falls when what is said to matter is hidden, beside hiding at random.",
    "insertion": "Insertion: how far the score rises when only what is said to matter is shown, beside random.",
}


@dataclass
class Measure:
    """One measure.

    Attributes:
        name: Its key.
        meaning: One sentence; "" for a measure this page does not know.
        columns: Names of its numbers.
        rows: A view's name with its number for each column, as printed.
        absent: A view's name with the reason why it has none.
    """

    name: str
    meaning: str
    columns: list[str] = field(default_factory=list[str])
    rows: list[tuple[str, list[str]]] = field(default_factory=list[tuple[str, list[str]]])
    absent: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def explanation_measures(views: Sequence[View]) -> list[Measure]:
    """Return the measures that the views' cards hold, in their order; empty where none holds any."""
    found: dict[str, Measure] = {}
    numbers: list[tuple[Measure, str, dict[str, str]]] = []
    for view in views:
        explanations = view.card.get("explanations")
        if not isinstance(explanations, Mapping):
            continue
        for name, value in cast("Mapping[str, Any]", explanations).items():
            if not isinstance(value, Mapping):
                continue
            measure = found.setdefault(name, Measure(name, _MEANINGS.get(name, "")))
            if "absent" in value:
                measure.absent.append((view.name, str(value["absent"])))
            else:
                flat = _flat(cast("Mapping[str, Any]", value))
                measure.columns += [column for column in flat if column not in measure.columns]
                numbers.append((measure, view.name, flat))
    for measure, name, flat in numbers:
        measure.rows.append((name, [flat.get(column, "–") for column in measure.columns]))
    return list(found.values())


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{name} ")
        elif isinstance(value, bool) or value is None:
            continue
        elif isinstance(value, int):
            flat[name] = f"{value:,}"
        elif isinstance(value, float):
            flat[name] = f"{value:.3f}" if abs(value) <= 1 else f"{value:.1f}"
        elif isinstance(value, (list, tuple)) and len(value) == 2:
            flat[name] = "–".join(f"{float(end):.3g}" for end in value)
    return flat
