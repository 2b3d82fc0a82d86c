"""Run an evaluation, from paths to a card; `crossgraph evaluate` is a thin layer over it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from crossgraph.bundle.folder import load_bundle
from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.dataset import DataSet
from crossgraph.data.split import Split
from crossgraph.data.subset import first_images
from crossgraph.evaluate.card import NO_ATTENTION, EvaluationContext, build_card
from crossgraph.evaluate.coco_measures import measure_coco, with_ids
from crossgraph.evaluate.details import write_details
from crossgraph.evaluate.protocol import Evaluation, Protocol, check_slices, evaluate_scores
from crossgraph.evaluate.sources import Source, adopt_files, blame, cascade_source, combine, score_runs
from crossgraph.explain.measures import NO_BOXES, SAMPLE, THOROUGH, measure_explanations
from crossgraph.explain.measures.object_boxes import ObjectBoxes, find_boxes
from crossgraph.files import check_output_folder
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run, load_run
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.compatibility import check_run_fits
from crossgraph.scoring.encode import Precision
from crossgraph.scoring.engine import choose_device
from crossgraph.scoring.recall import NonFiniteScore, Ties
from crossgraph.scoring.score_file import open_scores
from crossgraph.scoring.tuning import PrecisionChoice, choose_precision

DEV = "dev"


@dataclass(frozen=True)
class Job:
    """A request to evaluate runs or score files on a split.

    Attributes:
        runs: Runs; several are an ensemble. Either these or `scores`.
        scores: Score matrices; several are an ensemble.
        data: The data folder.
        features: Region features, where they lie elsewhere.
        split: Which split.
        slices: Consecutive slices beside the whole gallery; 1 for none.
        dev_limit: Only the first so many images, or None.
        ties: How equal scores count.
        details: Folder for every query's rank and best answers, or None.
        device: "auto", "cpu" or "cuda".
        precision: Of the matrix products; "auto" as `crossgraph.scoring.tuning` finds for the first run.
        block: Pairs scored in one go, or None.
        cascade: The one run is a bundle: score only the short lists of its retriever.
        explanations: Measure the runs' explanations thoroughly, not on a card's small sample.
        boxes: Boxes of named things, where they do not lie beside the captions.
        ids: COCO's id of every caption, where the captions file does not tell.
    """

    runs: Sequence[Path]
    scores: Sequence[Path]
    data: Path
    features: Path | None = None
    split: str = "test"
    slices: int = 1
    dev_limit: int | None = None
    ties: Ties = "expected"
    details: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: PrecisionChoice = "float32"
    block: int | None = None
    cascade: bool = False
    explanations: bool = False
    boxes: Path | None = None
    ids: Path | None = None

    def __post_init__(self) -> None:
        """Check the request before anything is loaded.

        Raises:
            InputError: Neither or both of runs and scores, a limit or slices below 1, explanations of score
                files, or a file where the folder of details should be.
        """
        if bool(self.runs) == bool(self.scores):
            both = "give either runs or --scores, not both"
            raise InputError("nothing to evaluate: give runs, or --scores" if not self.runs else both)
        if self.dev_limit is not None and self.dev_limit < 1:
            raise InputError(f"--dev-limit {self.dev_limit} leaves no image", "give at least 1")
        if self.slices < 1:
            raise InputError(f"--slices {self.slices}", "give at least 1")
        for option, given in (("--explanations", self.explanations), ("--boxes", self.boxes is not None)):
            if given and self.scores:
                raise InputError(f"{option}: score files hold no attention", "give the runs that made them")
        if self.cascade and len(self.runs) != 1:
            raise InputError("--cascade: one bundle is evaluated at a time", "give the folder of one bundle")
        if self.details is not None:
            check_output_folder(self.details)


def run_job(
    job: Job, log: Callable[[str], object] = print, report: Callable[[str], ProgressCallback] | None = None
) -> dict[str, Any]:
    """Evaluate, write the details if asked for, and return the card.

    Args:
        job: What and how.
        log: Called with the line that describes the data.
        report: Returns the progress callback of a task.

    Raises:
        InputError: Something given cannot be used; nothing has been written then.
    """
    device = choose_device(job.device)
    files = [open_scores(path) for path in job.scores]
    bundle = load_bundle(job.runs[0]) if job.cascade else None
    runs = [load_run(path) for path in job.runs] if bundle is None else [bundle.reranker]
    data = open_data(job.data, job.features, log=log)
    whole = data.split(job.split)
    if job.ids is not None:
        whole = with_ids(whole, job.ids)
    split = whole if job.dev_limit is None else first_images(whole, job.dev_limit)
    check_slices(job.slices, len(split.image_ids))
    things = _boxes(job) if runs else NO_BOXES
    progress = report or _silent
    precision, size = _how(job, runs, split, device)
    if files:
        sources = adopt_files(files, whole, split)
    elif bundle is not None:
        sources = [cascade_source(bundle.to(device), lambda: _dev(data, job), split, precision, progress, size)]
    else:
        sources = score_runs(runs, split, device, precision, report, size)
    begun = time.monotonic()
    protocol = Protocol(ties=job.ties, slices=job.slices)
    evaluation = _evaluate(sources, split, protocol)
    seconds = time.monotonic() - begun
    coco = measure_coco(combine(sources), split, job.ties, report("ECCV Caption and CxC") if report else None)
    explanations: dict[str, Any] = {"absent": NO_ATTENTION}
    if runs:
        options = THOROUGH if job.explanations else SAMPLE
        explanations = measure_explanations(runs, split, things, options, device, report)
    context = EvaluationContext(
        data=job.data,
        features=job.features,
        whole=whole,
        split=split,
        dev_limit=job.dev_limit,
        device=None if files else device,
        precision=None if files else precision,
        seconds=seconds,
        explanations=explanations,
        coco=coco,
    )
    card = build_card(sources, evaluation, protocol, context)
    if job.details is not None:
        write_details(job.details, combine(sources), split, evaluation)
    return card


def _silent(task: str) -> ProgressCallback:
    return lambda what, done, total: None


def _how(job: Job, runs: Sequence[Run], split: Split, device: torch.device) -> tuple[Precision, BlockSize]:
    """Return precision and block size for the first run."""
    if not runs:
        return "float32", BlockSize(pairs=job.block)
    for run in runs:
        check_run_fits(run, split)
    return choose_precision(runs[0].model.to(device), runs[0].vocabulary, split, job.precision, job.block)


def _dev(data: DataSet, job: Job) -> Split:
    """Open the split that short lists are chosen on."""
    if DEV not in data.splits:
        raise InputError(f"{job.data}: has no split '{DEV}' to choose short lists on", "never 'test'; add that split")
    return data.split(DEV)


def _boxes(job: Job) -> ObjectBoxes | str:
    """Find boxes, or return why there are none; a broken file beside the data does not prevent a card."""
    try:
        return find_boxes(job.data, job.boxes) or NO_BOXES
    except InputError as error:
        if job.explanations or job.boxes is not None:
            raise
        return error.problem


def _evaluate(sources: Sequence[Source], split: Split, protocol: Protocol) -> Evaluation:
    try:
        return evaluate_scores(combine(sources), split.caption_image, protocol)
    except NonFiniteScore as error:
        raise blame(error, sources, split) from error
