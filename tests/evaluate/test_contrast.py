"""Accuracy within groups of near-identical pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.core.errors import InputError
from crossgraph.evaluate.contrast import contrast

IMAGES = np.repeat(np.arange(6), 3)
PAIRS = [[0, 1], [2, 3], [4, 5]]


def test_the_right_scores_win_every_pair() -> None:
    scores = (np.arange(6)[:, None] == IMAGES).astype(float)
    found = contrast(scores, IMAGES, PAIRS)
    assert (found.accuracy, found.i2t, found.t2i, found.interval) == (100.0, 100.0, 100.0, (100.0, 100.0))
    assert (found.chance, found.groups) == (50.0, 3)


def test_equal_scores_are_a_coin() -> None:
    found = contrast(np.zeros((6, 18)), IMAGES, PAIRS)
    assert (found.accuracy, found.i2t, found.t2i) == (50.0, 50.0, 50.0)


def test_other_groups_do_not_matter() -> None:
    scores = (np.arange(6)[:, None] == IMAGES).astype(float)
    scores[0, 6:] = 9.0
    assert contrast(scores, IMAGES, PAIRS).accuracy == 100.0


def test_directions_are_asked_apart() -> None:
    """Picture 0 outscores its twin on every sentence: each picture still knows its own sentence."""
    scores = (np.arange(6)[:, None] == IMAGES).astype(float)
    scores[0] += 5.0
    found = contrast(scores, IMAGES, PAIRS)
    assert found.i2t == 100.0
    assert np.isclose(found.t2i, 100 * (1 / 2 + 1 + 1) / 3)


def test_a_picture_meets_its_fellows_caption_of_the_same_place() -> None:
    """Only the k-th captions are compared: a high score for another place changes nothing."""
    scores = np.zeros((2, 4))
    scores[0] = [1, 9, 0, 8]
    scores[1] = [0, 8, 1, 9]
    found = contrast(scores, np.array([0, 0, 1, 1]), [[0, 1]])
    assert found.i2t == 100.0


def test_groups_of_four_have_a_chance_of_a_quarter() -> None:
    found = contrast(np.zeros((4, 8)), np.repeat(np.arange(4), 2), [[0, 1, 2, 3]])
    assert (found.accuracy, found.chance) == (25.0, 25.0)


@given(st.integers(0, 10_000))
def test_the_interval_holds_the_accuracy_and_repeats(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(6, 18))
    found, again = contrast(scores, IMAGES, PAIRS), contrast(scores, IMAGES, PAIRS)
    assert found == again
    assert found.interval[0] - 1e-9 <= found.accuracy <= found.interval[1] + 1e-9
    assert np.isclose(found.accuracy, (found.i2t + found.t2i) / 2)


@pytest.mark.parametrize("groups", [[], [[0]], [[0, 1]]])
def test_what_is_no_group_is_refused(groups: list[list[int]]) -> None:
    with pytest.raises(InputError):
        contrast(np.zeros((2, 3)), np.array([0, 0, 1]), groups)
