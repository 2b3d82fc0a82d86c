"""The watch on trainings that stopped learning."""

from __future__ import annotations

import dataclasses
import math

import pytest

from crossgraph.core.errors import InputError
from crossgraph.train.collapse import CollapseDetector
from crossgraph.train.config import CollapseWatch, LossChoice, ModelChoice, Recipe

FROZEN = 2 * 32 * 0.2


def recipe(action: str = "warn", **loss: object) -> Recipe:
    watch = CollapseWatch(action, after_steps=3)  # type: ignore[arg-type]
    return Recipe(ModelChoice("saf"), LossChoice(**loss), collapse=watch, batch=32)  # type: ignore[arg-type]


def look(detector: CollapseDetector, *losses: float, spread: float = 0.1, start: int = 0) -> list[str | None]:
    return [detector.check(start + i, loss, spread, loss, 1.0) for i, loss in enumerate(losses)]


def test_a_loss_frozen_at_two_batch_margin_is_named_once_with_its_remedy() -> None:
    said = look(CollapseDetector(recipe(), 10), *[FROZEN * 1.01] * 8)
    assert said[:2] == [None, None]
    assert said[2] is not None
    assert "2 · batch · margin = 12.80" in said[2]
    assert "--loss.negatives=warm-up" in said[2]
    assert said[3:] == [None] * 5


def test_a_loss_that_leaves_the_plateau_is_no_collapse() -> None:
    assert look(CollapseDetector(recipe(), 10), *[FROZEN, FROZEN, FROZEN * 0.9] * 3) == [None] * 9


def test_equal_scores_are_a_collapse_under_any_loss() -> None:
    said = look(CollapseDetector(recipe(name="infonce"), 10), 5.0, 5.0, 5.0, spread=0.0)
    assert said[2] is not None
    assert "all scores of a batch have been equal" in said[2]


def test_the_sum_of_negatives_may_pass_through_the_plateau() -> None:
    detector = CollapseDetector(recipe(negatives="warm-up", warm_up_epochs=2), steps_per_epoch=10)
    assert look(detector, *[FROZEN] * 20) == [None] * 20
    assert look(detector, FROZEN, FROZEN, FROZEN, start=20)[2] is not None


def test_stop_ends_training_and_off_never_looks() -> None:
    with pytest.raises(InputError, match=r"collapse: the loss has been 12\.80"):
        look(CollapseDetector(recipe("stop"), 10), *[FROZEN] * 3)
    assert look(CollapseDetector(recipe("off"), 10), *[FROZEN] * 9, spread=0.0) == [None] * 9


@pytest.mark.parametrize("place", [2, 3, 4])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_ends_training_whatever_the_action(place: int, value: float) -> None:
    values = [7, 1.0, 0.1, 1.0, 1.0]
    values[place] = value
    off = CollapseDetector(dataclasses.replace(recipe("off")), 10)
    with pytest.raises(InputError, match=r"broke at step 7.*lower --optimiser\.lr"):
        off.check(*values)  # type: ignore[arg-type]
