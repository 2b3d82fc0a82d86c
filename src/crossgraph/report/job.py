"""One report from paths to a page: what `crossgraph report` does, for Python as well."""

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
from crossgraph.report.contents import curve_charts, figure_rows, histograms, model_notes, origins, remarks
from crossgraph.report.curves import read_curves
from crossgraph.report.examples import Example, make_example
from crossgraph.report.measures import explanation_measures
from crossgraph.report.overlays import Overlays
from crossgraph.report.page import check_templates, render
from crossgraph.report.places import DataPlace, check_page, known_data
from crossgraph.report.queries import Query, choose_queries, worst_queries
from crossgraph.report.views import View, ask, make_views
from crossgraph.runs import load_run
from crossgraph.scoring.engine import choose_device


@dataclass(frozen=True)
class ReportJob:
    """What the report is about.

    Attributes:
        runs: At least one; several also get the mean of their scores.
        out: The page, .html.
        data: The data folder; None takes the one that the runs were evaluated or trained on.
        features: Region features, where they lie elsewhere.
        split: Which split.
        queries: What is asked, see `crossgraph.report.queries.choose_queries`.
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
        """Refuse what cannot be done, before any of it is.

        Raises:
            InputError: No run, a number below 0, or a place that cannot take the page.
        """
        if not self.runs:
            raise InputError("nothing to report on", "give a run")
        if self.worst < 0:
            raise InputError(f"--worst {self.worst}", "give 0 or more")
        if self.features is not None and self.data is None:
            raise InputError(f"--features {self.features} without --data", "name the data folder too")
        check_page(self.out)


def write_report(
    job: ReportJob,
    log: Callable[[str], object] = print,
    report: Callable[[str], ProgressCallback] | None = None,
    when: datetime.datetime | None = None,
) -> Path:
    """Score, evaluate, look inside, and write the page; nothing else is written.

    Args:
        job: What about.
        log: Hears what the data folder turned out to be.
        report: Makes, for a task's name, what hears how far it is.
        when: The date on the page; now by default.

    Returns:
        The page.

    Raises:
        InputError: Something given cannot be used; nothing has been written then.
    """
    check_templates()
    device = choose_device(job.device)
    runs = [load_run(path) for path in job.runs]
    place = DataPlace(job.data, job.features) if job.data is not None else known_data(runs, job.split)
    split = open_data(place.data, place.features, log=log).split(job.split)
    queries = choose_queries(job.queries, split, runs)
    views = make_views(runs, job.scores, split, place, device, report)
    extra = list(dict.fromkeys(query.text for query in queries if query.row is None))
    views = ask(views, extra, split)
    overlays = Overlays(split)
    told = report("looking inside") if report is not None else None
    panels = _panels(views, queries, extra, job.worst, split, overlays, told)
    values = _values(views, panels, split, place, overlays, when or datetime.datetime.now().astimezone())
    page = render(values, overlays.as_json())
    write_text(job.out, page)
    return job.out


def _panels(
    views: Sequence[View],
    queries: Sequence[Query],
    extra: Sequence[str],
    worst: int,
    split: Split,
    overlays: Overlays,
    told: ProgressCallback | None,
) -> list[dict[str, list[Example]]]:
    """Answer every view's queries: chosen and worst, by direction."""
    asked = [{"chosen": list(queries), "worst": worst_queries(view, split, worst)} for view in views]
    total, done = sum(len(some) for kinds in asked for some in kinds.values()), 0
    panels: list[dict[str, list[Example]]] = []
    for view, kinds in zip(views, asked, strict=True):
        panel: dict[str, list[Example]] = {}
        for kind, some in kinds.items():
            for query in some:
                example = make_example(query, view, extra, split, overlays)
                panel.setdefault(f"{query.direction} {kind}", []).append(example)
                done += 1
                if told is not None:
                    told("queries", done, total)
        panels.append(panel)
    return panels


def _values(
    views: Sequence[View],
    panels: Sequence[dict[str, list[Example]]],
    split: Split,
    place: DataPlace,
    overlays: Overlays,
    when: datetime.datetime,
) -> dict[str, Any]:
    """Return everything that the template names."""
    single = [view for view in views if not view.ensemble]
    curves = [read_curves(view.runs[0].path, view.runs[0].info.chosen_by.get("step")) for view in single]
    names = [view.name for view in single]
    pictures = list(overlays.pictures.values())
    shapes = sorted(entry["width"] / entry["height"] for entry in pictures)
    return {
        "views": views,
        "panels": panels,
        "captions": split.captions,
        "data_name": place.data.resolve().name,
        "data_folder": str(place.data),
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
        "curves": curve_charts(names, curves),
        "curve_names": names,
        "without_curves": [name for name, way in zip(names, curves, strict=True) if not way],
        "histograms": histograms(views, split),
        "measured": explanation_measures(views),
        "pictures": overlays.pictures,
        "without_pictures": sum(not entry["source"] for entry in pictures),
        "layouts": overlays.kinds,
        "frame_shape": min(max(shapes[len(shapes) // 2], 0.75), 1.5) if shapes else 1.0,
    }
