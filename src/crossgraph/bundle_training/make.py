"""Makes a bundle: trains the retriever on train, chooses short lists, calibration and margins on dev."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossgraph.bundle.bundle import Bundle
from crossgraph.bundle.calibration import Calibration, calibrate
from crossgraph.bundle.folder import MANIFEST, load_bundle, save_bundle
from crossgraph.bundle.short_list import LEAST, ShortList, choose
from crossgraph.bundle_training.head_training import HeadRecipe, index_scores, train_head
from crossgraph.bundle_training.late_interaction_training import LateInteractionRecipe, train_late_interaction
from crossgraph.bundle_training.reliability import PLOT, draw
from crossgraph.cascade.candidate_margins import choose_margins, write_margins
from crossgraph.cascade.coarse_scores import coarse_scores
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.files import write_text
from crossgraph.progress import ProgressCallback
from crossgraph.provenance import all_versions, git_revision, typed_command
from crossgraph.runs import Run, load_run
from crossgraph.scoring.compatibility import check_run_fits
from crossgraph.scoring.engine import ScoringOptions, choose_device, score_split
from crossgraph.scoring.tuning import choose_precision
from crossgraph.train.job import open_splits

NEW = ".new"
"""Folder inside the bundle's that it is written to until it is whole."""
PARTS = ("reranker", "retriever", "head.safetensors", "sieve.safetensors", PLOT, MANIFEST)
"""Files and folders of a bundle; the manifest comes last, since it says that the bundle is whole."""


@dataclass(frozen=True)
class BundleRequest:
    """What `crossgraph bundle` was asked.

    Attributes:
        reranker: The run whose scores count.
        data: Its data; only train and dev are opened.
        out: The bundle's folder.
        retriever: A run of an independent model over the same features; without it a head is trained.
        features: Region features, where they lie elsewhere.
        recipe: Training settings of the head.
        sieve: Those of a late-interaction retriever for cascades, or None.
    """

    reranker: Path
    data: Path
    out: Path
    retriever: Path | None = None
    features: Path | None = None
    recipe: HeadRecipe = field(default_factory=HeadRecipe)
    sieve: LateInteractionRecipe | None = None


def make_bundle(
    request: BundleRequest,
    log: Callable[[str], object] = print,
    progress: Callable[[str], ProgressCallback] = lambda task: lambda what, done, total: None,
) -> Bundle:
    """Make a bundle.

    Args:
        request: Runs, data, settings.
        log: Takes lines about the data.
        progress: Returns the progress callback of a task.

    Raises:
        InputError: Runs and data do not fit each other, or dev cannot choose anything.
    """
    run = load_run(request.reranker)
    retriever = load_run(request.retriever) if request.retriever else None
    splits = open_splits(request.data, request.features, log, "a bundle")
    train, dev = splits.train, splits.dev
    _check(run, retriever, request, dev)
    run.model.to(choose_device("auto"))
    precision, size = choose_precision(run.model, run.vocabulary, dev, "auto")
    scoring, name = progress("scoring dev"), str(run.path)
    scores = score_split(
        run.model, run.vocabulary, dev, ScoringOptions(precision=precision, size=size, progress=scoring, name=name)
    )
    made: dict[str, Any] = {"data": {"dev": dev.fingerprint()}, "reranker": str(request.reranker)}
    head, retrieved = None, scores
    if retriever is not None:
        retrieved = score_split(
            retriever.model, retriever.vocabulary, dev, ScoringOptions(progress=progress("retrieving dev"))
        )
        made["retriever"] = str(request.retriever)
    elif run.model.kind == "interaction":
        check_run_fits(run, train)
        head, chosen = train_head(run, train, dev, scores, request.recipe, progress("training the index head"))
        retrieved = index_scores(head, run, dev)
        head = head.cpu()
        made |= {"head": asdict(request.recipe), "chosen": chosen}
        made["data"]["train"] = train.fingerprint()
    short_list = choose(retrieved, scores, dev.caption_image) if retrieved is not scores else None
    calibration = calibrate_on(scores, retrieved, dev, short_list)
    sieve = None
    if request.sieve is not None:
        check_run_fits(run, train)
        sieve, figures = train_late_interaction(run, train, request.sieve, progress("training the sieve"))
        made |= {"sieve": {**asdict(request.sieve), **figures}}
        made["data"]["train"] = train.fingerprint()
    made |= {"command": typed_command(), "versions": all_versions(), "git_revision": git_revision()}
    bundle = Bundle(request.out, run, retriever, head, short_list, calibration, sieve)
    _save(request.out, bundle, draw(calibration, bundle.name), made)
    saved = load_bundle(request.out)
    if sieve is not None:  # dev's scores are at hand here; a cascade would have to compute them
        write_margins(
            saved.path, choose_margins(saved, dev, scores, coarse_scores(saved, dev, progress, precision).matrix)
        )
    return saved


def _save(out: Path, bundle: Bundle, plot: str, made: dict[str, Any]) -> None:
    """Write a bundle into a folder inside its own, and move its parts up when all are written."""
    fresh = out / NEW
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        write_text(fresh / PLOT, plot)
        save_bundle(fresh, bundle, made)
        # Without its manifest the old bundle counts as none: a kill between two moves leaves no mixture that loads.
        (out / MANIFEST).unlink(missing_ok=True)
        for name in PARTS:
            old, new = out / name, fresh / name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            if new.exists():
                new.rename(old)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        with contextlib.suppress(OSError):  # the folder holds something, or was never made
            out.rmdir()


def calibrate_on(scores: np.ndarray, retrieved: np.ndarray, dev: Split, short_list: ShortList | None) -> Calibration:
    """Fit P(match) on the pairs of dev's short lists, of the size that the default recall asks for.

    Raises:
        InputError: Dev has no pair of one kind, so that nothing can be learned.
    """
    size = short_list.size(len(scores)) if short_list else min(len(scores), max(LEAST, len(scores) // 10))
    near = np.argpartition(-retrieved, min(size, len(scores)) - 1, axis=0)[:size]
    columns = np.broadcast_to(np.arange(scores.shape[1]), near.shape)
    matches = near == dev.caption_image[None, :]
    if matches.all() or not matches.any():
        raise InputError(
            f"{dev.source}: dev's {len(scores)} pictures are too few to tell matches from the rest",
            "give a dev split of more pictures",
        )
    owner = np.broadcast_to(dev.caption_image, near.shape)
    return calibrate(
        scores[near, columns].ravel().astype(np.float64), matches.ravel(), owner.ravel(), len(scores), size
    )


def _check(run: Run, retriever: Run | None, request: BundleRequest, dev: Split) -> None:
    check_run_fits(run, dev)
    if request.sieve is not None and run.model.kind == "independent":
        raise InputError(
            f"{request.reranker}: '{run.info.model}' is independent; its own vectors score all pairs",
            "leave --sieve out",
        )
    if retriever is None:
        return
    if retriever.model.kind != "independent":
        raise InputError(
            f"{request.retriever}: '{retriever.info.model}' is an interaction model, which gives no index vector",
            "give a run of an independent model, or leave --retriever out: an index head is then trained",
        )
    if run.model.kind == "independent":
        raise InputError(
            f"{request.reranker}: '{run.info.model}' is independent; there is nothing to re-rank",
            "leave --retriever out",
        )
    if retriever.info.region_encoder != run.info.region_encoder:
        raise InputError(
            f"{request.retriever}: takes features of {retriever.info.region_encoder}, "
            f"{request.reranker} those of {run.info.region_encoder}",
            "retriever and re-ranker must share their region features",
        )
    check_run_fits(retriever, dev)
