"""What the page says, as plain values for its template: figures, where they come from, what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from crossgraph.data.split import Split
from crossgraph.report.charts import Line, histogram_chart, interval_bar, line_chart
from crossgraph.report.curves import Curves
from crossgraph.report.histogram import score_bounds, score_histogram
from crossgraph.report.views import View

DIRECTIONS = {"i2t": "Image → text", "t2i": "Text → image"}
_CUTOFFS = (1, 5, 10)


@dataclass(frozen=True)
class Cell:
    """One figure of the table.

    Attributes:
        value: As printed.
        interval: As printed; "" where there is none.
        bar: Both as a picture; empty where there is no interval.
        best: Whether no other column is better.
        note: A line below.
    """

    value: str
    interval: str = ""
    bar: Markup = field(default_factory=Markup)
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure's name and a cell a view."""

    name: str
    cells: list[Cell]


def figure_rows(views: Sequence[View]) -> dict[str, list[Row]]:
    """Return the table of figures: rows by group, both directions and their sum."""
    groups = {
        title: [
            *(_row(f"R@{cutoff}", views, f"{direction} R@{cutoff}", 100) for cutoff in _CUTOFFS),
            _row("medR", views, f"{direction} medR", 0),
        ]
        for direction, title in DIRECTIONS.items()
    }
    return groups | {"Both": [_row("rSum", views, "rSum", 600)]}


def remarks(views: Sequence[View]) -> list[tuple[str, str]]:
    """Return the cards' warnings and notes, each once, the warnings first."""
    found: dict[tuple[str, str], None] = {}
    for kind in ("warning", "note"):
        for view in views:
            found |= {(kind, str(text)): None for text in view.card.get(f"{kind}s") or []}
    return list(found)


def origins(views: Sequence[View]) -> list[dict[str, str]]:
    """Return what each run is and which weights of it were taken."""
    rows: list[dict[str, str]] = []
    for view in views:
        if view.ensemble:
            continue
        info, run = view.runs[0].info, view.runs[0]
        count = sum(parameter.numel() for parameter in run.model.parameters())
        rows.append(
            {
                "name": view.name,
                "model": info.model,
                "parameters": f"{count:,}",
                "chosen": _chosen(info.chosen_by),
                "paper": type(run.model).paper,
                "command": info.command,
                "status": str(getattr(type(run.model), "status", "")),
            }
        )
    return rows


def curve_charts(names: Sequence[str], curves: Sequence[Curves]) -> list[tuple[str, Markup]]:
    """Return the charts of loss and dev rSum; those without a point are left out."""
    lines = {
        "Loss": [Line(name, number, way.loss) for number, (name, way) in enumerate(zip(names, curves, strict=True))],
        "rSum on dev": [
            Line(name, number, way.rsum, dots=True, ring=way.chosen)
            for number, (name, way) in enumerate(zip(names, curves, strict=True))
        ],
    }
    return [
        (title, line_chart(drawn, f"{title} by training step", "step"))
        for title, drawn in lines.items()
        if any(line.points for line in drawn)
    ]


def histograms(views: Sequence[View], split: Split) -> list[dict[str, Any]]:
    """Return a histogram a view, all over the same axis."""
    bounds = score_bounds([view.scores for view in views])
    found: list[dict[str, Any]] = []
    for view in views:
        counted = score_histogram(view.scores, split.caption_image, bounds)
        matched, unmatched = counted.middle
        title = f"Scores of {view.name}: median {matched:.2f} matched, {unmatched:.2f} unmatched"
        chart = histogram_chart(counted, title)
        found.append({"name": view.name, "chart": chart, "matched": f"{matched:.2f}", "unmatched": f"{unmatched:.2f}"})
    return found


def model_notes(views: Sequence[View]) -> list[str]:
    """Return what a model's class says of its standing, such as "re-interpretation"."""
    told = {row["model"]: row["status"] for row in origins(views) if row["status"] not in ("", "implemented")}
    return [f"{model}: {status}" for model, status in told.items()]


def _row(name: str, views: Sequence[View], figure: str, most: float) -> Row:
    results = [view.card["results"]["whole"] for view in views]
    values = [float(result["figures"][figure]) for result in results]
    best = (min if figure.endswith("medR") else max)(values)
    several = len(views) > 1 and len(set(values)) > 1
    return Row(
        name,
        [
            _cell(v, r["intervals"].get(figure), most, several and v == best)
            for v, r in zip(values, results, strict=True)
        ],
    )


def _cell(value: float, interval: Sequence[float] | None, most: float, best: bool) -> Cell:
    if not interval:
        return Cell(f"{value:g}", best=best)
    low, high = interval
    return Cell(f"{value:.1f}", f"{low:.1f}–{high:.1f}", interval_bar(value, low, high, most), best)


def _chosen(chosen: Mapping[str, Any]) -> str:
    split = str(chosen.get("split") or "")
    if not split or split.startswith("unknown"):
        return "unknown"
    told = [f"{name} {_plain(chosen[name])}" for name in ("step", "epoch") if name in chosen]
    rsum = f", rSum {float(chosen['rsum']):.1f}" if isinstance(chosen.get("rsum"), int | float) else ""
    return f"{split}{rsum}" + (f" ({', '.join(told)})" if told else "")


def _plain(value: Any) -> str:
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
