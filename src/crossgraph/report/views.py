"""Scores and evaluates what a report compares: every run, and the mean of all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.card import EvaluationContext, build_card
from crossgraph.evaluate.protocol import Evaluation, Protocol, evaluate_scores
from crossgraph.evaluate.sources import Source, adopt_files, blame, combine, score_runs
from crossgraph.explain.measures import NO_BOXES, SAMPLE, measure_explanations
from crossgraph.explain.measures.object_boxes import find_boxes
from crossgraph.progress import ProgressCallback
from crossgraph.provenance import describe_run
from crossgraph.report.data_paths import DataPaths, read_card
from crossgraph.runs import Run
from crossgraph.scoring.compatibility import check_run_fits
from crossgraph.scoring.encode import ImageBlocks, SplitCodes, encode_captions
from crossgraph.scoring.engine import score_matrix
from crossgraph.scoring.recall import NonFiniteScore, ScoreRows
from crossgraph.scoring.score_file import open_scores


@dataclass(frozen=True)
class View:
    """One column of the report: a run, or the ensemble of all.

    Attributes:
        name: The run's folder, or "mean" for the ensemble.
        kind: The model, or "ensemble of 2".
        runs: One, or all.
        scores: Images × captions of the split.
        evaluation: Of these scores.
        card: The evaluation's card.
        sentence_scores: Scores of the sentences asked beyond the split's own: images × sentences.
    """

    name: str
    kind: str
    runs: tuple[Run, ...]
    scores: ScoreRows
    evaluation: Evaluation
    card: dict[str, Any]
    sentence_scores: Float[np.ndarray, "img txt"] = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def ensemble(self) -> bool:
        """Return whether it is a mean of several."""
        return len(self.runs) > 1


def make_views(
    runs: Sequence[Run],
    files: Sequence[Path],
    split: Split,
    data: DataPaths,
    device: torch.device,
    report: Callable[[str], ProgressCallback] | None = None,
) -> list[View]:
    """Return every run scored and evaluated, and where there are several their mean.

    Args:
        runs: At least one.
        files: Score files of these runs, in their order; none to score now.
        split: Pictures and captions.
        data: Where it was read from.
        device: Where to score.
        report: Makes a progress callback for a task's name.

    Raises:
        InputError: The split does not fit a run, a file is of another run or split, or a score is no number.
    """
    for run in runs:
        check_run_fits(run, split)
    sources = _file_sources(runs, files, split) if files else score_runs(runs, split, device, report=report)
    context = EvaluationContext(data.data, data.features, split, split, None, device, "float32", 0.0)
    views = [
        _view(name, run.info.model, (run,), [source], context, report)
        for name, run, source in zip(_names(runs), runs, sources, strict=True)
    ]
    if len(runs) > 1:
        views.append(_view("mean", f"ensemble of {len(runs)}", tuple(runs), sources, context, report))
    return views


def score_sentences(views: Sequence[View], sentences: Sequence[str], split: Split) -> list[View]:
    """Return the views with their scores of sentences that the split does not hold."""
    if not sentences:
        return list(views)
    scores: dict[Path, np.ndarray] = {}
    for run in (run for view in views if not view.ensemble for run in view.runs):
        texts = encode_captions(run.model, run.vocabulary, sentences)
        scores[run.path] = score_matrix(run.model, SplitCodes(ImageBlocks(run.model, split), texts)).astype(np.float64)
    return [
        dataclasses.replace(view, sentence_scores=np.mean([scores[run.path] for run in view.runs], axis=0))
        for view in views
    ]


def _view(
    name: str,
    kind: str,
    runs: tuple[Run, ...],
    sources: Sequence[Source],
    context: EvaluationContext,
    report: Callable[[str], ProgressCallback] | None,
) -> View:
    begun, protocol, scores, split = time.monotonic(), Protocol(), combine(sources), context.split
    try:
        evaluation = evaluate_scores(scores, split.caption_image, protocol)
    except NonFiniteScore as error:
        raise blame(error, sources, split) from error
    card = _own_card(runs[0], sources[0], split) if len(runs) == 1 else None
    if card is None:
        context = dataclasses.replace(context, seconds=time.monotonic() - begun)
        if len(runs) == 1:
            try:
                boxes = find_boxes(context.data) or NO_BOXES
            except InputError as error:  # a broken file beside the data must not prevent a report
                boxes = error.problem
            explanations = measure_explanations(runs, split, boxes, SAMPLE, context.device, report)
            context = dataclasses.replace(context, explanations=explanations)
        card = build_card(sources, evaluation, protocol, context)
    return View(name, kind, runs, scores, evaluation, card)


def _own_card(run: Run, source: Source, split: Split) -> dict[str, Any] | None:
    """Return the card in the run's folder when it is about these weights, this split and its features."""
    card = read_card(run.path, split.name)
    try:
        assert card is not None
        (entry,) = card["models"]["entries"]
        same = (
            card["data"]["split"] == split.name
            and card["data"]["fingerprint"] == split.fingerprint()
            and card["protocol"]["dev_limit"] is None
            and card["protocol"]["ties"] == "expected"
            and entry["weights_sha256"] == source.models[0].get("weights_sha256")
        )
        complete = {"title", "explanations", "warnings", "notes", "protocol"} <= card.keys()
        return card if same and complete and card["results"]["whole"]["figures"] else None
    except (AssertionError, KeyError, TypeError, ValueError):
        return None


def _file_sources(runs: Sequence[Run], files: Sequence[Path], split: Split) -> list[Source]:
    """Return the score files as sources, where each was made by its run as the run is now."""
    if len(files) != len(runs):
        raise InputError(f"{len(files)} score files for {len(runs)} runs", "give one a run, in the runs' order")
    sources = adopt_files([open_scores(path) for path in files], split, split)
    for run, source in zip(runs, sources, strict=True):
        if [model.get("weights_sha256") for model in source.models] != [describe_run(run)["weights_sha256"]]:
            raise InputError(
                f"{source.name}: was not made by {run.path} as it is now", "score it again, or leave it out"
            )
    return sources


def _names(runs: Sequence[Run]) -> list[str]:
    """Return the folders' names, with as much of the path before them as makes them differ."""
    parts = [run.path.resolve().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{part[-1]} ({number})" for number, part in enumerate(parts, start=1)]
