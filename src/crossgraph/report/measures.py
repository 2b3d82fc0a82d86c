"""What the cards say of how far explanations can be believed: a table, and curves of scores while parts are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from crossgraph.explain.measures import FORMAT_VERSION
from crossgraph.report.charts import Line, interval_bar, line_chart
from crossgraph.report.contents import Cell, Row
from crossgraph.report.views import View

_PLAYERS = {"model": "the model", "centre": "always the centre", "uniform": "everywhere alike"}
_ASKED = {"pointing": "Pointing game", "energy": "Energy in the box"}
_PARTS = {"regions": "Regions", "words": "Words"}
_TESTS = {"deletion": "hidden first", "insertion": "shown first"}


@dataclass
class Measured:
    """What is known of the explanations of the runs.

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


def explanation_measures(views: Sequence[View]) -> Measured:
    """Return what the cards of the views hold, see `crossgraph.explain.measures.card_entry`."""
    found = Measured()
    entries: dict[str, Mapping[str, Any]] = {}
    for view in views:
        if view.ensemble:
            continue
        explanations: dict[str, Any] = view.card.get("explanations") or {
            "absent": "its card is older than such measures"
        }
        if "absent" in explanations or explanations.get("format_version") != FORMAT_VERSION:
            found.absent.append(f"{view.name}: {explanations.get('absent', 'measured by another version')}")
            continue
        entry: Mapping[str, Any] = explanations["models"][0]
        if "absent" in entry:
            found.absent.append(f"{view.name}: {entry['absent']}")
            continue
        entries[view.name] = entry
        found.small |= not explanations["sample"]["thorough"]
        found.absent += [f"{view.name}, {_place(p)}: {entry[p]['absent']}" for p in _absent(entry)]
    found.names = list(entries)
    found.tables = _pointing(entries) | _hiding(entries)
    found.charts = _charts(entries)
    return found


def _absent(entry: Mapping[str, Any]) -> list[str]:
    return [part for part in ("pointing", *_PARTS) if "absent" in entry[part]]


def _place(part: str) -> str:
    return "pointing game" if part == "pointing" else f"{part} hidden"


def _pointing(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    parts = [entry["pointing"] for entry in entries.values()]
    for key, title in _ASKED.items() if any("absent" not in part for part in parts) else ():
        tables[title] = [
            Row(name, [_cell(part, key, player, digits=1, most=100) for part in parts])
            for player, name in _PLAYERS.items()
        ]
    return tables


def _hiding(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Row]]:
    tables: dict[str, list[Row]] = {}
    for name, title in _PARTS.items():
        parts = [entry[name] for entry in entries.values()]
        if any("absent" not in part for part in parts):
            tables[f"{title}: gain over random order"] = [
                Row(what, [_cell(part, key, "gain", digits=3, most=0) for part in parts])
                for key, what in _TESTS.items()
            ]
    return tables


def _cell(part: Mapping[str, Any], key: str, name: str, digits: int, most: float) -> Cell:
    if "absent" in part:
        return Cell("–")
    figure = part[key][name]
    value, (low, high) = float(figure["value"]), figure["interval"]
    bar = interval_bar(value, low, high, most) if most else Markup()
    won = part[key].get("beats_random")
    note = f"beats random in {won['value']:.0f} % of the pairs" if won else ""
    told = [f"{number:.{digits}f}".replace("-", "−") for number in (value, low, high)]
    return Cell(told[0], f"{told[1]} to {told[2]}", bar, note=note)


def _charts(entries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    charts: list[tuple[str, Markup]] = []
    for part, title in _PARTS.items():
        for key, what in _TESTS.items():
            lines: list[Line] = []
            for number, (name, entry) in enumerate(entries.items()):
                if "absent" in entry[part]:
                    continue
                curve = entry[part][key]["curve"]
                for order, dashed in (("random", True), ("said", False)):
                    points = [(100 * s, v) for s, v in zip(curve["share"], curve[order], strict=True)]
                    lines.append(Line(f"{name}, {'at random' if dashed else 'as said'}", number, points, dashed=dashed))
            if lines:
                heading = f"{title} {what}"
                label = f"% of the {part} {'hidden' if key == 'deletion' else 'shown'}"
                charts.append((heading, line_chart(lines, f"Score while {heading.lower()}", label)))
    return charts
