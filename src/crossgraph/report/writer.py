"""Writes a report: scores and evaluates runs, answers queries, and renders one page."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.split import Split
from crossgraph.files import write_text
from crossgraph.progress import ProgressCallback
from crossgraph.provenance import all_versions, git_revision, typed_command
from crossgraph.report.data_paths import DataPaths, check_page_path, find_data
from crossgraph.report.examples import Example, make_example
from crossgraph.report.explanation_measures import explanation_measures
from crossgraph.report.page import check_templates, render
from crossgraph.report.page_data import PageData
from crossgraph.report.queries import choose_queries, worst_queries
from crossgraph.report.sections import curve_charts, figure_rows, histograms, model_notes, origins, remarks
from crossgraph.report.training_curves import read_curves
from crossgraph.report.views import View, make_views, score_sentences
from crossgraph.runs import load_run
from crossgraph.scoring.engine import choose_device


@dataclass(frozen=True)
class ReportRequest:
    """What a report was asked for.

    Attributes:
        runs: At least one; several also get the mean of their scores.
        out: The page, .html.
        data: The data folder; None takes the one that the runs were evaluated or trained on.
        features: Region features, where they lie elsewhere.
        split: Which split.
        queries: What to ask, see `crossgraph.report.queries.choose_queries`.
        worst: Queries of each direction whose right answer ranks lowest.
        scores: Score files of the runs, in their order; none to score now.
        device: "auto", "cpu" or "cuda".
    """

    runs: Sequence[Path]
    out: Path
    data: Path | None = None
    features: Path | None = None
    split: str = "test"
    queries: Sequence[str] = ()
    worst: int = 3
    scores: Sequence[Path] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        """Check the request before any work is done.

        Raises:
            InputError: No run, a number below 0, or a page that cannot be written.
        """
        if not self.runs:
            raise InputError("nothing to report on", "give a run")
        if self.worst < 0:
            raise InputError(f"--worst {self.worst}", "give 0 or more")
        if self.features is not None and self.data is None:
            raise InputError(f"--features {self.features} without --data", "name the data folder too")
        check_page_path(self.out)


def write_report(
    request: ReportRequest,
    log: Callable[[str], object] = print,
    report: Callable[[str], ProgressCallback] | None = None,
    when: datetime.datetime | None = None,
) -> Path:
    """Score, evaluate, align, and write the page; nothing else is written.

    Args:
        request: What about.
        log: Takes a line on what the data folder turned out to be.
        report: Makes a progress callback for a task's name.
        when: The date on the page; now by default.

    Returns:
        The page.

    Raises:
        InputError: Something given cannot be used; nothing has been written then.
    """
    check_templates()
    device = choose_device(request.device)
    runs = [load_run(path) for path in request.runs]
    paths = find_data(runs, request.split) if request.data is None else DataPaths(request.data, request.features)
    split = open_data(paths.data, paths.features, log=log).split(request.split)
    queries = choose_queries(request.queries, split, runs)
    sentences = list(dict.fromkeys(query.text for query in queries if query.row is None))
    views = score_sentences(make_views(runs, request.scores, split, paths, device, report), sentences, split)
    data = PageData(split)
    asked = [
        [("chosen", query) for query in queries]
        + [("worst", query) for query in worst_queries(view, split, request.worst)]
        for view in views
    ]
    query_report = report("looking inside") if report is not None else None
    panels: list[dict[str, list[Example]]] = []
    done = 0
    for view, view_queries in zip(views, asked, strict=True):
        panel: dict[str, list[Example]] = {}
        for kind, query in view_queries:
            example = make_example(query, view, sentences, split, data)
            panel.setdefault(f"{query.direction} {kind}", []).append(example)
            done += 1
            if query_report is not None:
                query_report("queries", done, sum(map(len, asked)))
        panels.append(panel)
    values = _template_values(views, split, paths, data, when or datetime.datetime.now().astimezone())
    write_text(request.out, render(values | {"panels": panels}, data.as_json()))
    return request.out


def _template_values(
    views: Sequence[View], split: Split, paths: DataPaths, data: PageData, when: datetime.datetime
) -> dict[str, Any]:
    """Return all that the template names, but for the panels of queries."""
    runs = {view.name: view.runs[0] for view in views if not view.ensemble}
    curves = {name: read_curves(run.path, run.info.chosen_by.get("step")) for name, run in runs.items()}
    pictures = list(data.pictures.values())
    aspects = sorted(entry["width"] / entry["height"] for entry in pictures)
    return {
        "views": views,
        "captions": split.captions,
        "data_name": paths.data.resolve().name,
        "data_folder": str(paths.data),
        "split": split.name,
        "images": len(split.image_ids),
        "captions_count": len(split.captions),
        "features": f"{split.features.shape[1]} × {split.features.shape[2]:,} ({split.features.encoder})",
        "when": f"{when.day} {when:%B %Y}",
        "when_exactly": when.isoformat(timespec="seconds"),
        "versions": all_versions(),
        "revision": git_revision(),
        "command": typed_command(),
        "protocol": views[0].card["protocol"]["intervals"],
        "figures": figure_rows(views),
        "remarks": remarks(views),
        "origins": origins(views),
        "model_notes": model_notes(views),
        "curves": curve_charts(curves),
        "curve_names": list(curves),
        "without_curves": [name for name, run in curves.items() if not run],
        "histograms": histograms(views, split),
        "measured": explanation_measures(views),
        "pictures": data.pictures,
        "without_pictures": sum(not entry["source"] for entry in pictures),
        "layouts": data.layout_kinds,
        "frame_shape": min(max(aspects[len(aspects) // 2], 0.75), 1.5) if aspects else 1.0,
    }
