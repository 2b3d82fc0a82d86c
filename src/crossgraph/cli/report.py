"""`crossgraph report`: writes one self-contained page about runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crossgraph.cli.output import log


def report(
    runs: list[Path],
    *,
    out: Path,
    data: Path | None = None,
    features: Path | None = None,
    split: str = "test",
    query: list[str] | None = None,
    worst: int = 3,
    scores: list[Path] | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Write one page on runs: figures, curves, answers, and what each word looked at.

    The page is one file that works without a network. Several runs stand side by side, with the mean of
    their scores as an ensemble. Nothing is written but the page.

    Args:
        runs: Runs that `crossgraph train` or `crossgraph import` made.
        out: The page, .html.
        data: The data folder; left out, the one that the runs were evaluated or trained on.
        features: Region features, where they lie elsewhere.
        split: Which split.
        query: What to show: a caption's row in the split from 0, a picture's id, or a sentence.
        worst: How many of the worst queries each way.
        scores: Score files of these runs, in their order, to save the scoring.
        device: Where to compute; auto takes the accelerator where there is one.
    """
    from crossgraph.progress import ProgressDisplay
    from crossgraph.report.writer import ReportRequest, write_report

    def say(line: str) -> None:
        log(line)

    job = ReportRequest(
        runs=runs,
        out=out,
        data=data,
        features=features,
        split=split,
        queries=query or [],
        worst=worst,
        scores=scores or [],
        device=device,
    )
    with ProgressDisplay() as progress:
        try:
            page = write_report(job, say, progress.for_task)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{out} is as it was before") from None
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
