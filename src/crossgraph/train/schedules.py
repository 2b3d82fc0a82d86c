"""The learning rate as a pure function of where training stands, so that there is no state to save."""

from __future__ import annotations

import math

from crossgraph.models.base import Progress
from crossgraph.train.config import ScheduleChoice


def learning_rate_factor(schedule: ScheduleChoice, progress: Progress, total_steps: int) -> float:
    """Return the factor on the learning rate for the step about to be taken.

    Args:
        schedule: The recipe's choice.
        progress: Optimiser steps done and the running epoch, both from 0.
        total_steps: Optimiser steps of the whole training.
    """
    if progress.step < schedule.warm_up_steps:
        return (progress.step + 1) / (schedule.warm_up_steps + 1)
    if schedule.name == "step":
        return schedule.factor ** (progress.epoch // schedule.drop_every)
    if schedule.name == "cosine":
        left = max(1, total_steps - schedule.warm_up_steps)
        share = min(1.0, (progress.step - schedule.warm_up_steps) / left)
        return schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * share))
    return 1.0
