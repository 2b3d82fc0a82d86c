"""The learning rate as a function of step and epoch."""

from __future__ import annotations

import pytest

from crossgraph.models.base import Progress
from crossgraph.train.config import ScheduleChoice
from crossgraph.train.schedules import learning_rate_factor


def factor(schedule: ScheduleChoice, step: int = 0, epoch: int = 0, total: int = 100) -> float:
    return learning_rate_factor(schedule, Progress(step, epoch), total)


def test_the_published_schedule_drops_to_a_tenth_after_its_epochs() -> None:
    published = ScheduleChoice("step", drop_every=20, factor=0.1)
    assert factor(published, epoch=19) == 1
    assert factor(published, epoch=20) == pytest.approx(0.1)
    assert factor(published, epoch=40) == pytest.approx(0.01)


def test_drops_at_named_epochs_replace_those_at_equal_distances() -> None:
    late = ScheduleChoice("step", drop_every=1, drop_at=[20, 25], factor=0.1)
    assert [factor(late, epoch=epoch) for epoch in (0, 19, 20, 24, 25, 29)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_cosine_goes_from_one_through_a_half_to_the_floor() -> None:
    cosine = ScheduleChoice("cosine", floor=0.2)
    assert factor(cosine, step=0) == 1
    assert factor(cosine, step=50) == pytest.approx(0.6)
    assert factor(cosine, step=100) == factor(cosine, step=120) == pytest.approx(0.2)


def test_warm_up_rises_in_equal_steps_and_ends_at_one() -> None:
    rising = ScheduleChoice("constant", warm_up_steps=4)
    assert [factor(rising, step=step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
