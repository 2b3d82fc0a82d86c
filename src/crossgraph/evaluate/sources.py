"""Score matrices from runs, files or a cascade, checked against the data and each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from crossgraph.bundle.bundle import Bundle
from crossgraph.cascade.candidate_expansion import FIRST_CAPTIONS, FIRST_PICTURES
from crossgraph.cascade.scores import cascade_scores, margins_of
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.matrices import Mean, select_pairs
from crossgraph.progress import ProgressCallback
from crossgraph.provenance import describe_run, pairs_fingerprint
from crossgraph.runs import Run
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.compatibility import check_run_fits
from crossgraph.scoring.encode import Precision
from crossgraph.scoring.engine import DEFAULT_SIZE, ScoringOptions, score_split
from crossgraph.scoring.recall import NonFiniteScore, ScoreRows
from crossgraph.scoring.score_file import ScoreFile, ScoreInfo


@dataclass(frozen=True)
class Source:
    """One score matrix and the models that made it.

    Attributes:
        name: The run or file.
        scores: Images × captions of the split that is evaluated.
        models: What made it, an entry a model; one entry without anything but its name where unknown.
        seconds: What the scoring took, 0 for a file that does not say.
        remarks: What a reader of the numbers should know.
        origin: Of a file: its digest, and the device, precision and command behind it.
    """

    name: str
    scores: ScoreRows
    models: list[dict[str, Any]]
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list[str])
    origin: dict[str, Any] = field(default_factory=dict[str, Any])


def score_runs(
    runs: Sequence[Run],
    split: Split,
    device: torch.device,
    precision: Precision = "float32",
    report: Callable[[str], ProgressCallback] | None = None,
    size: BlockSize = DEFAULT_SIZE,
) -> list[Source]:
    """Score a split with every run; all are checked before the first is scored.

    Raises:
        InputError: The split does not fit a run, or its features hold NaN.
    """
    for run in runs:
        check_run_fits(run, split)
    sources: list[Source] = []
    for run in runs:
        begun = time.monotonic()
        progress = report(f"scoring with {run.path}") if report is not None else None
        scores = score_split(
            run.model.to(device),
            run.vocabulary,
            split,
            ScoringOptions(precision=precision, size=size, progress=progress, name=str(run.path)),
        )
        run.model.to("cpu")
        sources.append(Source(str(run.path), scores, [describe_run(run)], time.monotonic() - begun))
    return sources


def adopt_files(files: Sequence[ScoreFile], whole: Split, split: Split) -> list[Source]:
    """Return score files as sources, after checking that they belong to the split.

    Args:
        files: Opened files.
        whole: The split as the data has it.
        split: What is evaluated: `whole` or its first images; files may cover either.

    Raises:
        InputError: A file has another shape, or was made from other pictures or captions.
    """
    return [_adopt(file, whole, split) for file in files]


def _adopt(file: ScoreFile, whole: Split, split: Split) -> Source:
    shape, info = tuple(file.scores.shape), file.info
    covered = whole if shape == _shape(whole) else split
    if shape != _shape(covered):
        raise _misfit(file, whole, split)
    remarks = [file.remark] if file.remark else []
    if info is not None:
        if info.pairs != pairs_fingerprint(covered):
            raise InputError(
                f"{file.path}: made from other pictures or captions (split '{info.split}') than {_name(whole)}",
                "score this split again",
            )
        if info.features != covered.features.fingerprint():
            remarks.append(f"{file.path.name}: made from other features ({info.region_encoder}) than the data's now")
    scores: ScoreRows = file.scores
    if covered is not split:
        scores, _ = select_pairs(scores, whole.caption_image, slice(0, len(split.image_ids)))
    models = info.models if info is not None else [{"run": str(file.path), "model": "unknown"}]
    return Source(str(file.path), scores, models, info.seconds if info is not None else 0.0, remarks, _origin(info))


def _origin(info: ScoreInfo | None) -> dict[str, Any]:
    if info is None:
        return {}
    kept = ("sha256", "split", "device", "precision", "command", "versions", "git_revision")
    return {name: getattr(info, name) for name in kept}


def combine(sources: Sequence[Source]) -> ScoreRows:
    """Return the one matrix, or the mean of several: an ensemble."""
    return sources[0].scores if len(sources) == 1 else Mean([source.scores for source in sources])


def blame(error: NonFiniteScore, sources: Sequence[Source], split: Split) -> InputError:
    """Return an error that names matrix, image and caption of a non-finite score."""
    rows = slice(error.image, error.image + 1)
    for source in sources:
        value = float(source.scores[rows][0, error.caption])
        if not -float("inf") < value < float("inf"):
            return error.named(source.name, split.image_ids, split.captions)
    return error.named("the mean of the matrices", split.image_ids, split.captions)


def _misfit(file: ScoreFile, whole: Split, split: Split) -> InputError:
    rows, columns = file.scores.shape
    images, captions = _shape(split)
    if file.scores.shape in (_shape(whole)[::-1], _shape(split)[::-1]):
        return InputError(
            f"{file.path}: {rows:,} × {columns:,} is captions × images",
            "transpose it: images are rows, captions columns",
        )
    return InputError(
        f"{file.path}: {rows:,} × {columns:,}, but {_name(whole)} has {images:,} images × {captions:,} captions",
        "score this split again",
    )


def _shape(split: Split) -> tuple[int, int]:
    return len(split.image_ids), len(split.captions)


def _name(split: Split) -> str:
    return split.source or f"split '{split.name}'"


def cascade_source(
    bundle: Bundle,
    dev: Callable[[], Split],
    split: Split,
    precision: Precision,
    progress: Callable[[str], ProgressCallback],
    size: BlockSize = DEFAULT_SIZE,
) -> Source:
    """Score a split by cascade: short lists by the re-ranker, the other pairs by coarse scores.

    Args:
        bundle: On its device.
        dev: Opens the split on which margins are chosen, where they are not known yet.
        split: What is evaluated.
        precision: Of the re-ranker.
        progress: Returns the progress callback of a task.
        size: Of a block of pairs.

    Raises:
        InputError: The bundle has no retriever, or its model needs none.
    """
    margins = margins_of(bundle, dev, precision, progress, size)
    begun = time.monotonic()
    scores, about = cascade_scores(bundle, split, margins, precision, progress, size)
    pairs = about["pairs_by_nearness"] + about["pairs_by_guess"]
    remark = (
        f"a cascade: the nearest {FIRST_PICTURES} pictures of a caption and {FIRST_CAPTIONS} captions of a picture by "
        f"{about['index']} were scored, then what may be as good as their tenth best: {pairs:,} pairs in all "
        f"({about['share']:.1%}); margins chosen on dev"
    )
    model = {**describe_run(bundle.reranker), "cascade": about}
    return Source(str(bundle.path), scores, [model], time.monotonic() - begun, [remark])
