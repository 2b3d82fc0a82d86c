"""Checkpoints of a training: its state, weights, optimiser and generators; safetensors and JSON, nothing pickled.

    checkpoint/step-00000120/   state.safetensors   weights, optimiser, generators, by name
                                state.json          everything else
    checkpoint/.step-….tmp      one that was being written when the power went

A resumed training computes what an uninterrupted one would have, bit for bit: so everything that decides a later step
is in here, and whatever else a step reads (order of captions, learning rate) is a function of `TrainingState` alone.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.files import read_json, unwritable
from crossgraph.models.base import Matcher, Progress

FORMAT_VERSION = 1
_PREFIX = "step-"


@dataclass
class TrainingState:
    """The numbers of a training: everything that decides what comes next, except weights and generators.

    Attributes:
        step: Optimiser steps done.
        epoch: The running epoch, from 0.
        batch: Batches of it that were used: the sampler's position.
        evaluated_step: Step of the last finished evaluation on dev.
        best_rsum: Of dev; -1 before the first.
        best_step: Step of that evaluation.
        best_epoch: Epochs done then.
        stale: Evaluations since.
        seconds: Of training so far, without pauses.
        loss_sum: Of the steps since the last row of the log.
        loss_steps: Their number.
        finished: Why training ended; empty while it goes on.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    evaluated_step: int = 0
    best_rsum: float = -1.0
    best_step: int = 0
    best_epoch: float = 0.0
    stale: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    finished: str = ""

    @property
    def progress(self) -> Progress:
        """What models, losses and schedules read."""
        return Progress(self.step, self.epoch)


class AveragedWeights:
    """A moving average of a model's weights (and of its running statistics).

    Args:
        model: What is trained.
        decay: Share of the old average that stays at each step; early steps use less, so that the first
            weights are soon forgotten.
    """

    def __init__(self, model: Matcher, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, model: Matcher, step: int) -> None:
        """Move the average towards the weights after optimiser step `step` (from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for average, current in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(current)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        tensors: By name: `model/…`, `average/…`, `optimiser/<parameter>/…`, `rng/<rank>/…`.
        values: What fits JSON.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def pack(
    state: TrainingState,
    model: Matcher,
    average: AveragedWeights | None,
    optimiser: torch.optim.Optimizer,
    generators: list[tuple[dict[str, Tensor], dict[str, Any]]],
    about: Mapping[str, Any],
) -> Checkpoint:
    """Return a checkpoint of everything that a resumed training needs.

    Args:
        state: The numbers.
        model: Weights as trained.
        average: Their average, where there is one.
        optimiser: Its moments.
        generators: `capture_generators()` of every process, in order.
        about: What describes the run; compared when resuming.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in average.model.state_dict().items()}
    moments, groups = pack_optimiser(optimiser)
    tensors |= {f"optimiser/{name}": tensor for name, tensor in moments.items()}
    for rank, (states, _) in enumerate(generators):
        tensors |= {f"rng/{rank}/{name}": tensor for name, tensor in states.items()}
    values = {
        "state": dataclasses.asdict(state),
        "optimiser": groups,
        "rng": [values for _, values in generators],
        **about,
    }
    return Checkpoint(tensors, values)


def unpack(
    checkpoint: Checkpoint,
    model: Matcher,
    average: AveragedWeights | None,
    optimiser: torch.optim.Optimizer,
    rank: int,
) -> TrainingState:
    """Load a checkpoint into model, average, optimiser and this process's generators; return its numbers."""
    model.load_state_dict(_with_prefix(checkpoint.tensors, "model/"))
    if average is not None:
        average.model.load_state_dict(_with_prefix(checkpoint.tensors, "average/"))
    unpack_optimiser(optimiser, _with_prefix(checkpoint.tensors, "optimiser/"), checkpoint.values["optimiser"])
    # Last, so that nothing above draws from them any more.
    restore_generators(_with_prefix(checkpoint.tensors, f"rng/{rank}/"), checkpoint.values["rng"][rank])
    return TrainingState(**checkpoint.values["state"])


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and remove older ones.

    A folder takes its name when all inside it is on disk, and only then is its predecessor removed: a kill at any
    moment leaves the older or the newer one.

    Args:
        folder: The run's `checkpoint` folder.
        step: Optimiser steps done; a checkpoint of the same step is replaced.
        checkpoint: What to save.

    Raises:
        InputError: The disk is full or the folder cannot be written; the previous checkpoint is kept.
    """
    final = folder / f"{_PREFIX}{step:08d}"
    temporary = folder / f".{final.name}.tmp"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    values = json.dumps({"format_version": FORMAT_VERSION, **checkpoint.values}, indent=1, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        temporary.mkdir()
        _write(temporary / "state.safetensors", save(tensors))
        _write(temporary / "state.json", values.encode("utf-8"))
        _sync(temporary)
        # One of this step may exist, from before the evaluation of it: it holds the same weights and an older state.
        # It cannot be renamed over, and removing it first would leave a moment without any checkpoint.
        if final.exists():
            final = _free_name(final)
        temporary.rename(final)
        _sync(folder)
        for older in _finished(folder):
            if older != final:
                shutil.rmtree(older)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise unwritable(final, error) from error


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint; None when there is none yet.

    Raises:
        InputError: It is broken, or of a newer format.
    """
    finished = _finished(folder)
    if not finished:
        return None
    newest = finished[-1]
    values = read_json(newest / "state.json", "delete this folder to go on from an older checkpoint or the beginning")
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        remedy = "update crossgraph" if isinstance(version, int) and version > FORMAT_VERSION else "train again"
        raise InputError(f"{newest}: checkpoint format {version}, this program reads {FORMAT_VERSION}", remedy)
    try:
        tensors = load_file(newest / "state.safetensors")
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{newest / 'state.safetensors'}: cannot be read ({reason})", "train again") from error
    return Checkpoint(tensors, values)


def remove_unfinished(folder: Path) -> None:
    """Remove folders that a kill left half-written."""
    for leftover in folder.glob(f".{_PREFIX}*.tmp"):
        shutil.rmtree(leftover)


def pack_optimiser(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimiser's state into named tensors and what fits JSON (its parameter groups)."""
    state = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    for parameter, entries in state["state"].items():
        for name, value in entries.items():
            tensors[f"{parameter}/{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return tensors, state["param_groups"]


def unpack_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Load what `pack_optimiser` returned into an optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        parameter, name = key.split("/")
        state.setdefault(int(parameter), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed Python, numpy and torch; each process of a group draws its own numbers."""
    mixed = (seed * 1_000_003 + rank) % 2**32
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def capture_generators() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the states of this process's generators: torch's, numpy's and Python's.

    Training draws from torch's only (weights, dropout, noise); the others are saved so that a future model that draws
    from them resumes exactly, too.

    Returns:
        Tensors by name, and what fits JSON.
    """
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    tensors["numpy"] = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    version, state, spare = random.getstate()
    values = {
        "numpy": [str(kind), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(state), spare],
    }
    return tensors, values


def restore_generators(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Set the generators to states that `capture_generators` returned."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
    kind, position, has_gauss, gauss = values["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, state, spare = values["python"]
    random.setstate((version, tuple(state), spare))


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _finished(folder: Path) -> list[Path]:
    """Return complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def _free_name(path: Path) -> Path:
    """Return the name that sorts right after `path`'s latest writing of the same step."""
    number = 1
    while (candidate := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return candidate


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
