"""From what was asked to finished runs: the order of checks, processes, folders and trainings."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crossgraph.core.errors import InputError
from crossgraph.files import write_text
from crossgraph.train import recipes
from crossgraph.train.checkpoint import load_checkpoint, remove_unfinished
from crossgraph.train.config import Recipe
from crossgraph.train.distributed import from_first, make_fabric, process_rank, together
from crossgraph.train.job import Job, Sources, Splits, open_splits, prepare
from crossgraph.train.loop import fit
from crossgraph.train.run_folder import CHECKPOINTS, first_difference, locked, refuse_other
from crossgraph.train.seeds import summarise, table
from crossgraph.train.state import TrainingState
from crossgraph.train.text_side import read_captions_by
from crossgraph.train.trackers import check_trackers

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Request:
    """What `crossgraph train` was asked.

    Attributes:
        recipe: A path or a shipped name.
        sources: Data, vocabulary, a run to start from.
        out: Where the run goes.
        overrides: `a.b=c` each.
        small: Use the recipe's small form.
        resume: Go on from the last checkpoint.
        seeds: How many runs.
        device: "auto", "cpu" or "cuda".
        devices: Processes on this machine.
        text_model: The folder of a pretrained text encoder.
    """

    recipe: str
    sources: Sources
    out: Path
    overrides: Sequence[str] = field(default_factory=list[str])
    small: bool = False
    resume: bool = False
    seeds: int = 1
    device: str = "auto"
    devices: int = 1
    text_model: Path | None = None


def run(request: Request) -> list[TrainingState]:
    """Train what was asked; prints results on stdout.

    Returns:
        The final numbers, one a seed.

    Raises:
        InputError: Anything given cannot be used; nothing is left half-written.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    if request.seeds < 1:
        raise InputError(f"--seeds is {request.seeds}", "give at least 1")
    recipe = recipes.load(recipes.find(request.recipe), request.overrides, request.small)
    if request.text_model is not None:
        recipe = read_captions_by(recipe, request.text_model)
    seeds = range(recipe.seed, recipe.seed + request.seeds)
    runs = [(seed, request.out if request.seeds == 1 else request.out / f"seed-{seed}") for seed in seeds]
    check_trackers(request.sources.track)
    first = process_rank() == 0
    for _, out in runs if first else []:
        refuse_other(out, request.resume)
    fabric = make_fabric(recipe.precision, request.device, request.devices)
    splits = open_splits(request.sources, _say if first else _silence)
    with together(first):
        fabric.launch()
        states = [
            _train_one(dataclasses.replace(recipe, seed=seed), request, splits, fabric, out) for seed, out in runs
        ]
    if request.seeds > 1 and first:
        print(table(summarise(request.out, seeds, states)))
    return states


def _train_one(recipe: Recipe, request: Request, splits: Splits, fabric: Fabric, out: Path) -> TrainingState:
    try:
        job = prepare(recipe, request.sources, splits, fabric.global_rank, fabric.world_size)
    except InputError:
        if fabric.global_rank == 0:
            raise
        raise SystemExit(2) from None  # the first process finds the same and says so
    with contextlib.ExitStack() as held:
        from_first(lambda: held.enter_context(locked(out)))
        state = from_first(lambda: _settle_folder(job, request, out))
        if state is None or not state.finished:
            state = fit(job, fabric, out)
    if fabric.global_rank == 0:
        print(
            f"{out}: {state.finished}; best dev rSum {state.best_rsum:.1f} at epoch {state.best_epoch:.2f} "
            f"(step {state.best_step}), chosen on '{job.dev.name}'"
        )
    return state


def _settle_folder(job: Job, request: Request, out: Path) -> TrainingState | None:
    """Look at what the folder holds: None for a beginning, else where its checkpoint stands."""
    checkpoints = out / CHECKPOINTS
    remove_unfinished(checkpoints)
    checkpoint = load_checkpoint(checkpoints)
    if checkpoint is None:
        if request.resume:
            _say(f"{out}: no checkpoint yet, training starts from the beginning")
        for earlier in job.info.history[-1:]:
            if job.info.region_encoder != (other := earlier["region_encoder"]):
                _say(f"{earlier['run']}: learned from features of '{other}', these are '{job.info.region_encoder}'")
        write_text(out / "recipe.yaml", recipes.dump(job.recipe))
        return None
    if difference := first_difference(checkpoint.values["must_agree"], job.about["must_agree"], ignore_new=True):
        key, old, new = difference
        raise InputError(
            f"{out}: was trained with {key.removeprefix('recipe.')} {_shown(old)}, now it is {_shown(new)}",
            "resume with what it was trained with, or start another run with --init",
        )
    record, now = checkpoint.values["record"], job.about["record"]
    if difference := first_difference(record["versions"], now["versions"]):
        key, old, new = difference
        _say(f"note: {key} was {old} and is {new}; the last digits may differ from an uninterrupted training")
    state = TrainingState(**checkpoint.values["state"])
    _say(f"{out}: {'already finished, ' + state.finished if state.finished else f'goes on from step {state.step}'}")
    return state


def _shown(value: object) -> str:
    text = "unset" if value is None else str(value)
    return f"{text[:16]}…" if len(text) == 64 else text


def _silence(line: str) -> None:
    """What processes but the first say."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
