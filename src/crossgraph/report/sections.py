"""Lays out the sections of the page for its template: figures, remarks, origins, curves, histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from crossgraph.data.split import Split
from crossgraph.report.charts import Line, histogram_chart, interval_bar, line_chart
from crossgraph.report.score_histogram import score_bounds, score_histogram
from crossgraph.report.training_curves import TrainingCurves
from crossgraph.report.views import View

DIRECTIONS = {"i2t": "Image → text", "t2i": "Text → image"}
_CUTOFFS = (1, 5, 10)


@dataclass(frozen=True)
class Cell:
    """One figure of the table.

    Attributes:
        value: As printed.
        interval: As printed; "" where there is none.
        bar: Value and interval drawn; empty where there is no interval.
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
    """One row of the table: a figure's name and one cell a view."""

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
    texts = [
        (kind, str(text)) for kind in ("warning", "note") for view in views for text in view.card.get(f"{kind}s") or []
    ]
    return list(dict.fromkeys(texts))


def origins(views: Sequence[View]) -> list[dict[str, str]]:
    """Return what each run is and how its weights were chosen."""
    return [
        {
            "name": view.name,
            "model": run.info.model,
            "parameters": f"{sum(parameter.numel() for parameter in run.model.parameters()):,}",
            "chosen": _chosen_by(run.info.chosen_by),
            "paper": type(run.model).paper,
            "command": run.info.command,
            "status": str(getattr(type(run.model), "status", "")),
        }
        for view in views
        if not view.ensemble
        for run in view.runs
    ]


def curve_charts(curves: Mapping[str, TrainingCurves]) -> list[tuple[str, Markup]]:
    """Return the charts of loss and dev rSum of runs by name; charts without a point are left out."""
    runs = [(number, name, run) for number, (name, run) in enumerate(curves.items())]
    charts = {
        "Loss": [Line(name, number, run.loss) for number, name, run in runs],
        "rSum on dev": [Line(name, number, run.rsum, dots=True, ring=run.chosen) for number, name, run in runs],
    }
    return [
        (title, line_chart(lines, f"{title} by training step", "step"))
        for title, lines in charts.items()
        if any(line.points for line in lines)
    ]


def histograms(views: Sequence[View], split: Split) -> list[dict[str, Any]]:
    """Return one histogram a view, all over the same axis."""
    bounds = score_bounds([view.scores for view in views])
    charts: list[dict[str, Any]] = []
    for view in views:
        histogram = score_histogram(view.scores, split.caption_image, bounds)
        matched, unmatched = (f"{median:.2f}" for median in histogram.medians)
        title = f"Scores of {view.name}: median {matched} matched, {unmatched} unmatched"
        chart = histogram_chart(histogram, title)
        charts.append({"name": view.name, "chart": chart, "matched": matched, "unmatched": unmatched})
    return charts


def model_notes(views: Sequence[View]) -> list[str]:
    """Return the status of the models that are not plainly implemented, such as "re-interpretation"."""
    statuses = {row["model"]: row["status"] for row in origins(views) if row["status"] not in ("", "implemented")}
    return [f"{model}: {status}" for model, status in statuses.items()]


def _row(name: str, views: Sequence[View], figure: str, most: float) -> Row:
    results = [view.card["results"]["whole"] for view in views]
    values = [float(result["figures"][figure]) for result in results]
    best = (min if figure.endswith("medR") else max)(values)
    several = len(views) > 1 and len(set(values)) > 1
    cells: list[Cell] = []
    for value, result in zip(values, results, strict=True):
        bold = several and value == best
        if interval := result["intervals"].get(figure):
            low, high = interval
            bar = interval_bar(value, low, high, most)
            cells.append(Cell(f"{value:.1f}", f"{low:.1f}–{high:.1f}", bar, bold))
        else:
            cells.append(Cell(f"{value:g}", best=bold))
    return Row(name, cells)


def _chosen_by(chosen: Mapping[str, Any]) -> str:
    """Return by which split, and at which step, a run's weights were chosen."""
    split = str(chosen.get("split") or "")
    if not split or split.startswith("unknown"):
        return "unknown"
    steps = [f"{name} {_number(chosen[name])}" for name in ("step", "epoch") if name in chosen]
    rsum = f", rSum {float(chosen['rsum']):.1f}" if isinstance(chosen.get("rsum"), int | float) else ""
    return f"{split}{rsum}" + (f" ({', '.join(steps)})" if steps else "")


def _number(value: Any) -> str:
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
