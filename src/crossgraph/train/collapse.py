"""Detects a training that has collapsed (all scores equal), and explains why.

Under hardest negatives a young model can find the plateau where every score is equal: each row and column
then costs exactly the margin, the loss stays at 2 · batch · margin, and gradients cancel.
"""

from __future__ import annotations

import math

from crossgraph.core.errors import InputError
from crossgraph.train.config import Recipe

_PLATEAU_WIDTH = 0.02  # of 2 · batch · margin
_EQUAL_SCORES = 1e-5  # standard deviation of a batch's scores


class CollapseDetector:
    """Counts consecutive steps that show a collapse.

    Args:
        recipe: Its `collapse`, `loss` and `batch`.
        steps_per_epoch: Of the optimiser.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        self._choice = recipe.collapse
        hinge = recipe.loss.name == "hinge"
        self._plateau = 2 * recipe.batch * recipe.loss.margin if hinge and recipe.loss.negatives != "sum" else None
        warm_up = max(recipe.loss.warm_up_steps, recipe.loss.warm_up_epochs * steps_per_epoch)
        self._hardest_from = warm_up if recipe.loss.negatives == "warm-up" else 0
        self._frozen = self._equal = 0
        self._said = False
        self._remedy = (
            "sum the negatives first (--loss.negatives=warm-up --loss.warm_up_epochs=1) or lower --optimiser.lr"
            if hinge
            else "lower --optimiser.lr or raise --loss.temperature"
        )

    def check(self, step: int, ranking: float, spread: float, loss: float, gradient_norm: float) -> str | None:
        """Check one optimiser step before its weights change.

        Args:
            step: Optimiser steps done before.
            ranking: Ranking loss of its last batch.
            spread: Standard deviation of that batch's scores.
            loss: The whole loss.
            gradient_norm: Before clipping.

        Returns:
            A warning, once, when the action is "warn"; else None.

        Raises:
            InputError: A value is not finite, or it looks collapsed and the action is "stop".
        """
        for name, value in (("loss", loss), ("scores' spread", spread), ("gradient", gradient_norm)):
            if not math.isfinite(value):
                raise InputError(
                    f"training broke at step {step}: the {name} became {value}",
                    "lower --optimiser.lr, clip harder (--optimiser.clip=1) or check the features; "
                    "the last checkpoint is kept",
                )
        if self._choice.action == "off":
            return None
        plateau = self._plateau if step >= self._hardest_from else None
        at_plateau = plateau is not None and abs(ranking - plateau) <= _PLATEAU_WIDTH * plateau
        self._frozen = self._frozen + 1 if at_plateau else 0
        self._equal = self._equal + 1 if spread < _EQUAL_SCORES else 0
        if max(self._frozen, self._equal) < self._choice.after_steps or self._said:
            return None
        self._said = True
        return self._report(ranking)

    def _report(self, loss: float) -> str:
        steps = self._choice.after_steps
        if self._equal >= steps:
            problem = f"collapse: all scores of a batch have been equal for {steps} steps"
        else:
            problem = (
                f"collapse: the loss has been {loss:.2f}, near 2 · batch · margin = {self._plateau:.2f}, for {steps} "
                "steps; under hardest negatives the scores have become equal"
            )
        if self._choice.action == "stop":
            raise InputError(problem, self._remedy)
        return f"{problem}: {self._remedy}"
