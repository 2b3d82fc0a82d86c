"""Lays out the measures of explanations that cards hold: a table, and curves of scores while parts are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from crossgraph.explain.measures import FORMAT_VERSION
from crossgraph.report.charts import Line, interval_bar, line_chart
from crossgraph.report.sections import Cell, Row
from crossgraph.report.views import View

_METHODS = {"model": "the model", "centre": "always the centre", "uniform": "everywhere alike"}
_POINTING = {"pointing": "Pointing game", "energy": "Energy in the box"}
_PARTS = {"regions": "Regions", "words": "Words"}
_TESTS = {"deletion": "hidden first", "insertion": "shown first"}
_Entries = Mapping[str, Mapping[str, Any]]
"""Entries of cards by the run's name; see `crossgraph.explain.measures.card_entry`."""


@dataclass
class ExplanationMeasures:
    """The measures of the runs' explanations, laid out.

    Attributes:
        names: Of the columns.
        tables: Rows by the group's title: pointing and energy in %, and gains in score.
        charts: Titles and curves of the score while parts are hidden or shown.
        absent: What could not be measured, and why.
        small: Whether some of it comes from a card's small sample.
    """

    names: list[str] = field(default_factory=list[str])
    tables: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    charts: list[tuple[str, Markup]] = field(default_factory=list[tuple[str, Markup]])
    absent: list[str] = field(default_factory=list[str])
    small: bool = False


def explanation_measures(views: Sequence[View]) -> ExplanationMeasures:
    """Return the measures that the cards of single runs hold."""
    measures = ExplanationMeasures()
    entries: dict[str, Mapping[str, Any]] = {}
    for view in views:
        if view.ensemble:
            continue
        card: dict[str, Any] = view.card.get("explanations") or {"absent": "its card is older than such measures"}
        if "absent" not in card and card.get("format_version") != FORMAT_VERSION:
            card = {"absent": "measured by another version"}
        entry: Mapping[str, Any] = card if "absent" in card else card["models"][0]
        if "absent" in entry:
            measures.absent.append(f"{view.name}: {entry['absent']}")
            continue
        entries[view.name] = entry
        measures.small |= not card["sample"]["thorough"]
        for part, name in (("pointing", "pointing game"), *((part, f"{part} hidden") for part in _PARTS)):
            if "absent" in entry[part]:
                measures.absent.append(f"{view.name}, {name}: {entry[part]['absent']}")
    measures.names = list(entries)
    measures.tables = _pointing_tables(entries) | _hiding_tables(entries)
    measures.charts = _charts(entries)
    return measures


def _pointing_tables(entries: _Entries) -> dict[str, list[Row]]:
    parts = [entry["pointing"] for entry in entries.values()]
    if all("absent" in part for part in parts):
        return {}
    return {
        title: [
            Row(name, [_cell(part, key, method, 1, most=100) for part in parts]) for method, name in _METHODS.items()
        ]
        for key, title in _POINTING.items()
    }


def _hiding_tables(entries: _Entries) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    for name, title in _PARTS.items():
        parts = [entry[name] for entry in entries.values()]
        if any("absent" not in part for part in parts):
            rows = [Row(test, [_cell(part, key, "gain", 3) for part in parts]) for key, test in _TESTS.items()]
            tables[f"{title}: gain over random order"] = rows
    return tables


def _cell(part: Mapping[str, Any], key: str, name: str, digits: int, most: float | None = None) -> Cell:
    """Return one figure with its interval, drawn on an axis from 0 to `most` where that is given."""
    if "absent" in part:
        return Cell("–")
    figure = part[key][name]
    value, (low, high) = float(figure["value"]), figure["interval"]
    won = part[key].get("beats_random")
    texts = [f"{number:.{digits}f}".replace("-", "−") for number in (value, low, high)]
    return Cell(
        texts[0],
        f"{texts[1]} to {texts[2]}",
        interval_bar(value, low, high, most) if most else Markup(),
        note=f"beats random in {won['value']:.0f} % of the pairs" if won else "",
    )


def _charts(entries: _Entries) -> list[tuple[str, Markup]]:
    charts: list[tuple[str, Markup]] = []
    for part, title in _PARTS.items():
        for key, test in _TESTS.items():
            lines: list[Line] = []
            for number, (name, entry) in enumerate(entries.items()):
                if "absent" in entry[part]:
                    continue
                curve = entry[part][key]["curve"]
                for order, label, dashed in (("random", "at random", True), ("said", "as said", False)):
                    points = [(100 * share, score) for share, score in zip(curve["share"], curve[order], strict=True)]
                    lines.append(Line(f"{name}, {label}", number, points, dashed=dashed))
            if lines:
                heading = f"{title} {test}"
                label = f"% of the {part} {'hidden' if key == 'deletion' else 'shown'}"
                charts.append((heading, line_chart(lines, f"Score while {heading.lower()}", label)))
    return charts
