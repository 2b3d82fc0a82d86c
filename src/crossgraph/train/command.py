"""Runs `crossgraph train`: checks what was asked, starts the processes, trains each seed, prints the results."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crossgraph.core.errors import InputError
from crossgraph.files import write_json, write_text
from crossgraph.train import recipes
from crossgraph.train.checkpoint import TrainingState, load_checkpoint, remove_unfinished
from crossgraph.train.config import Recipe
from crossgraph.train.distributed import from_first, make_fabric, process_rank, together
from crossgraph.train.initial_weights import resolve_text_encoder
from crossgraph.train.job import Job, Sources, Splits, open_splits, prepare
from crossgraph.train.loop import fit
from crossgraph.train.run_folder import CHECKPOINTS, first_difference, locked, refuse_other
from crossgraph.train.trackers import check_trackers

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Request:
    """What `crossgraph train` was asked.

    Attributes:
        recipe: A path or a shipped name.
        sources: Data, vocabulary, a run to fine-tune.
        out: Where the run goes.
        overrides: `a.b=c` each.
        small: Use the recipe's small form.
        resume: Continue from the last checkpoint.
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
        KeyboardInterrupt: Ctrl-C; the message says how to resume.
    """
    if request.seeds < 1:
        raise InputError(f"--seeds is {request.seeds}", "give at least 1")
    recipe = recipes.load(recipes.find(request.recipe), request.overrides, request.small)
    recipe = resolve_text_encoder(recipe, request.text_model, request.sources.init)
    seeds = range(recipe.seed, recipe.seed + request.seeds)
    runs = [(seed, request.out if request.seeds == 1 else request.out / f"seed-{seed}") for seed in seeds]
    check_trackers(request.sources.track)
    first = process_rank() == 0
    for _, out in runs if first else []:
        refuse_other(out, request.resume)
    fabric = make_fabric(recipe.precision, request.device, request.devices)
    splits = open_splits(request.sources.data, request.sources.features, _log if first else lambda line: None)
    with together(first):
        fabric.launch()
        states = [
            _train_one(dataclasses.replace(recipe, seed=seed), request, splits, fabric, out) for seed, out in runs
        ]
    if request.seeds > 1 and first:
        print(_summarise(request.out, seeds, states))
    return states


def _train_one(recipe: Recipe, request: Request, splits: Splits, fabric: Fabric, out: Path) -> TrainingState:
    try:
        job = prepare(recipe, request.sources, splits, fabric.global_rank, fabric.world_size)
    except InputError:
        if fabric.global_rank == 0:
            raise
        raise SystemExit(2) from None  # the first process raises the same and prints it
    with contextlib.ExitStack() as held:
        from_first(lambda: held.enter_context(locked(out)))
        state = from_first(lambda: _resume_state(job, request, out))
        if state is None or not state.finished:
            state = fit(job, fabric, out)
    if fabric.global_rank == 0:
        print(
            f"{out}: {state.finished}; best dev rSum {state.best_rsum:.1f} at epoch {state.best_epoch:.2f} "
            f"(step {state.best_step}), chosen on '{job.dev.name}'"
        )
    return state


def _resume_state(job: Job, request: Request, out: Path) -> TrainingState | None:
    """Return the state of the folder's checkpoint, None where training starts; prints what differs from it.

    Raises:
        InputError: The checkpoint is of another recipe, data or vocabulary.
    """
    checkpoints = out / CHECKPOINTS
    remove_unfinished(checkpoints)
    checkpoint = load_checkpoint(checkpoints)
    if checkpoint is None:
        if request.resume:
            _log(f"{out}: no checkpoint yet, training starts from the beginning")
        for earlier in job.info.history[-1:]:
            if job.info.region_encoder != (other := earlier["region_encoder"]):
                _log(f"{earlier['run']}: learned from features of '{other}', these are '{job.info.region_encoder}'")
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
        _log(f"note: {key} was {old} and is {new}; the last digits may differ from an uninterrupted training")
    state = TrainingState(**checkpoint.values["state"])
    _log(f"{out}: {'already finished, ' + state.finished if state.finished else f'goes on from step {state.step}'}")
    return state


def _shown(value: object) -> str:
    text = "unset" if value is None else str(value)
    return f"{text[:16]}…" if len(text) == 64 else text


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _summarise(out: Path, seeds: Sequence[int], states: Sequence[TrainingState]) -> str:
    """Write `summary.json`: dev rSum by seed, their mean and sample standard deviation (n − 1); return it as text."""
    mean = round(statistics.fmean(state.best_rsum for state in states), 4)
    std = round(statistics.stdev(state.best_rsum for state in states), 4)
    runs = [
        {
            "run": f"seed-{seed}",
            "seed": seed,
            "rsum": round(state.best_rsum, 4),
            "step": state.best_step,
            "epoch": state.best_epoch,
        }
        for seed, state in zip(seeds, states, strict=True)
    ]
    summary = {"format_version": 1, "figure": "dev rSum", "runs": runs, "mean": mean, "std": std}
    write_json(out / "summary.json", summary)
    lines = [f"{'seed':>6}  {'dev rSum':>8}  {'epoch':>6}"]
    lines += [f"{run['seed']:>6}  {run['rsum']:>8.1f}  {run['epoch']:>6.2f}" for run in runs]
    return "\n".join([*lines, f"{'mean':>6}  {mean:>8.1f} ± {std:.1f} over {len(runs)} seeds"])
