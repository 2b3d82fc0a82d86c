"""From runs and their data to a bundle: retriever, short-list sizes, calibration, each chosen on dev."""

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
from crossgraph.bundling.head_training import HeadRecipe, Report, head_scores, train_head
from crossgraph.bundling.reliability import PLOT, draw
from crossgraph.bundling.sieve_training import SieveRecipe, train_sieve
from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.split import Split
from crossgraph.evaluate.margins import choose_margins, keep_margins
from crossgraph.evaluate.nearness import nearness
from crossgraph.files import write_text
from crossgraph.runs import Run, load_run
from crossgraph.scoring.engine import choose_device, score_split
from crossgraph.scoring.fit import check_run_fits
from crossgraph.scoring.provenance import all_versions, git_revision, typed_command
from crossgraph.scoring.tuning import settle

CHOOSING_SPLIT = "dev"
NEW = ".new"
"""Where a bundle is written until it is whole, in the folder that it will be in."""
PARTS = ("reranker", "retriever", "head.safetensors", "sieve.safetensors", PLOT, MANIFEST)
"""Of a bundle; what says that it is whole comes last."""


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Attributes:
        reranker: The run whose scores count.
        data: Its data; only train and dev are opened.
        out: The bundle's folder.
        retriever: An independent run over the same features; without it a head is trained.
        features: Region features, where they lie elsewhere.
        recipe: Of the head.
        sieve: Recipe of a sieve for cascades, or None.
    """

    reranker: Path
    data: Path
    out: Path
    retriever: Path | None = None
    features: Path | None = None
    recipe: HeadRecipe = field(default_factory=HeadRecipe)
    sieve: SieveRecipe | None = None


def make_bundle(
    plan: Plan, log: Callable[[str], object] = print, report: Callable[[str], Report] | None = None
) -> Bundle:
    """Make a bundle.

    Args:
        plan: What.
        log: Hears what was found.
        report: Makes, for a task's name, what hears how far it is.

    Raises:
        InputError: Runs and data do not fit each other, or dev cannot choose anything.
    """
    told = report or (lambda task: lambda what, done, total: None)
    run = load_run(plan.reranker)
    retriever = load_run(plan.retriever) if plan.retriever else None
    data = open_data(plan.data, plan.features, log=log)
    for name in ("train", CHOOSING_SPLIT):
        if name not in data.splits:
            raise InputError(
                f"{plan.data}: has no split '{name}' (it has {', '.join(data.splits) or 'none'})",
                "a bundle learns from 'train' and chooses by 'dev', never by 'test'; add that split",
            )
    dev = data.split(CHOOSING_SPLIT)
    _check(run, retriever, plan, dev)
    run.model.to(choose_device("auto"))
    precision, size = settle(run.model, run.vocabulary, dev, "auto")
    heard, name = told("scoring dev"), str(run.path)
    scores = score_split(run.model, run.vocabulary, dev, precision=precision, size=size, report=heard, name=name)
    made: dict[str, Any] = {"data": {"dev": dev.fingerprint()}, "reranker": str(plan.reranker)}
    head, near = None, scores
    if retriever is not None:
        near = score_split(retriever.model, retriever.vocabulary, dev, report=told("retrieving dev"))
        made["retriever"] = str(plan.retriever)
    elif run.model.kind == "interaction":
        train = data.split("train")
        check_run_fits(run, train)
        head, chosen = train_head(run, train, dev, scores, plan.recipe, told("training the index head"))
        near = head_scores(head, run, dev)
        head = head.cpu()
        made |= {"head": asdict(plan.recipe), "chosen": chosen}
        made["data"]["train"] = train.fingerprint()
    short_list = choose(near, scores, dev.caption_image) if near is not scores else None
    calibration = calibrate_on(scores, near, dev, short_list)
    sieve = None
    if plan.sieve is not None:
        train = data.split("train")
        check_run_fits(run, train)
        sieve, found = train_sieve(run, train, plan.sieve, told("training the sieve"))
        made |= {"sieve": {**asdict(plan.sieve), **found}}
        made["data"]["train"] = train.fingerprint()
    made |= {"command": typed_command(), "versions": all_versions(), "git_revision": git_revision()}
    bundle = Bundle(plan.out, run, retriever, head, short_list, calibration, sieve)
    _keep(plan.out, bundle, draw(calibration, bundle.name), made)
    kept = load_bundle(plan.out)
    if sieve is not None:  # dev's scores are there: a cascade need not make them again
        looked = nearness(kept, dev, told, precision).matrix
        keep_margins(kept.path, choose_margins(kept, dev, scores, looked))
    return kept


def _keep(out: Path, bundle: Bundle, plot: str, made: dict[str, Any]) -> None:
    """Write a bundle beside what stands in its folder, and put it there when it is whole."""
    fresh = out / NEW
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        write_text(fresh / PLOT, plot)
        save_bundle(fresh, bundle, made)
        (out / MANIFEST).unlink(missing_ok=True)  # what stands is no bundle until the new one's parts are all there
        for name in PARTS:
            old, new = out / name, fresh / name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            if new.exists():
                new.rename(old)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        with contextlib.suppress(OSError):  # holds something, or was never made
            out.rmdir()


def calibrate_on(scores: np.ndarray, nearness: np.ndarray, dev: Split, short_list: ShortList | None) -> Calibration:
    """Fit P(match) on the pairs of dev's short lists, as many pictures as the default recall asks for.

    Raises:
        InputError: Dev has no pair of one kind, so that nothing can be learned.
    """
    size = short_list.size(len(scores)) if short_list else min(len(scores), max(LEAST, len(scores) // 10))
    near = np.argpartition(-nearness, min(size, len(scores)) - 1, axis=0)[:size]
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


def _check(run: Run, retriever: Run | None, plan: Plan, dev: Split) -> None:
    check_run_fits(run, dev)
    if plan.sieve is not None and run.model.kind == "independent":
        raise InputError(
            f"{plan.reranker}: '{run.info.model}' is independent; its own vectors score all pairs", "leave --sieve out"
        )
    if retriever is None:
        return
    if retriever.model.kind != "independent":
        raise InputError(
            f"{plan.retriever}: '{retriever.info.model}' is an interaction model, which gives no index vector",
            "give a run of an independent model, or leave --retriever out: an index head is then trained",
        )
    if run.model.kind == "independent":
        raise InputError(
            f"{plan.reranker}: '{run.info.model}' is independent; there is nothing to re-rank",
            "leave --retriever out",
        )
    if retriever.info.region_encoder != run.info.region_encoder:
        raise InputError(
            f"{plan.retriever}: takes features of {retriever.info.region_encoder}, "
            f"{plan.reranker} those of {run.info.region_encoder}",
            "retriever and re-ranker must share their region features",
        )
    check_run_fits(retriever, dev)
