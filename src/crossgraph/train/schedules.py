"""Learning rate by step and parameter group; a function of training progress, so that no state is saved."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from crossgraph.models.base import Progress
from crossgraph.text.choice import find_text_encoder
from crossgraph.text.transformer import TransformerTextEncoder
from crossgraph.train.config import OptimiserChoice, ScheduleChoice


def learning_rate_factor(schedule: ScheduleChoice, progress: Progress, total_steps: int) -> float:
    """Return the factor on the learning rate for the step about to be taken.

    Args:
        schedule: The recipe's choice.
        progress: Optimiser steps done and the running epoch, both from 0.
        total_steps: Optimiser steps of the whole training.
    """
    if progress.step < schedule.warm_up_steps:
        return (progress.step + 1) / (schedule.warm_up_steps + 1)
    if schedule.name == "step" and schedule.drop_at:
        return schedule.factor ** sum(progress.epoch >= epoch for epoch in schedule.drop_at)
    if schedule.name == "step":
        return schedule.factor ** (progress.epoch // schedule.drop_every)
    if schedule.name == "cosine":
        left = max(1, total_steps - schedule.warm_up_steps)
        share = min(1.0, (progress.step - schedule.warm_up_steps) / left)
        return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * share))
    return 1.0


def parameter_groups(module: nn.Module, choice: OptimiserChoice) -> list[dict[str, Any]]:
    """Return the trained parameters in one group, and a fine-tuned text model's in another with a share of the rate.

    Args:
        module: Holds the model.
        choice: The recipe's.
    """
    encoder = find_text_encoder(module)
    parameters = list(encoder.backbone.parameters()) if isinstance(encoder, TransformerTextEncoder) else []
    tuned = [parameter for parameter in parameters if parameter.requires_grad]
    ids = {id(parameter) for parameter in tuned}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in ids]
    groups: list[dict[str, Any]] = [{"params": rest}]
    return [*groups, {"params": tuned, "share": choice.text_model_lr}] if tuned else groups
