"""Where a training stands, and how that goes into a checkpoint and comes back."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crossgraph.models.base import Matcher, Progress
from crossgraph.train import rng
from crossgraph.train.checkpoint import Checkpoint, pack_optimiser, unpack_optimiser


@dataclass
class TrainingState:
    """The numbers of a training; everything that decides what comes next, but weights and generators.

    Attributes:
        step: Optimiser steps done.
        epoch: The running epoch, from 0.
        batch: Batches of it that were used: the sampler's position.
        evaluated_step: Step of the last finished ranking of dev.
        best_rsum: Of dev; -1 before the first.
        best_step: Where it was.
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
        """What models, losses and schedules are told."""
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
        """Move towards the weights after optimiser step `step` (from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


def pack(
    state: TrainingState,
    model: Matcher,
    average: AveragedWeights | None,
    optimiser: torch.optim.Optimizer,
    generators: list[tuple[dict[str, Tensor], dict[str, Any]]],
    about: Mapping[str, Any],
) -> Checkpoint:
    """Put everything that a resumed training needs together.

    Args:
        state: The numbers.
        model: Weights as trained.
        average: Their average, where kept.
        optimiser: Its moments.
        generators: `rng.capture()` of every process, in order.
        about: What the run is, for the comparison at resuming.
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
    """Put back what `pack` took, generators included; returns the numbers."""
    model.load_state_dict(_below(checkpoint.tensors, "model/"))
    if average is not None:
        average.model.load_state_dict(_below(checkpoint.tensors, "average/"))
    unpack_optimiser(optimiser, _below(checkpoint.tensors, "optimiser/"), checkpoint.values["optimiser"])
    rng.restore(_below(checkpoint.tensors, f"rng/{rank}/"), checkpoint.values["rng"][rank])
    return TrainingState(**checkpoint.values["state"])


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
