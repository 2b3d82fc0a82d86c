"""Hit rate, true recall and mAP@R of every query, with ties averaged over all orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crossgraph.evaluate.outcomes import average_precision, outcomes, places, true_recall
from crossgraph.scoring import recall

QUERY = hnp.arrays(np.float64, 5, elements=st.integers(0, 2).map(float))
RIGHT = st.sets(st.integers(0, 4), min_size=1)


def orders(scores: np.ndarray, right: set[int], worst: bool = False) -> list[list[bool]]:
    """Return, for every order of equal scores (or the worst), which places hold right answers."""
    every = [sorted(range(len(scores)), key=lambda answer: (-scores[answer], answer in right))]
    if not worst:
        every = [
            sorted(order, key=lambda answer: -scores[answer]) for order in itertools.permutations(range(len(scores)))
        ]
    return [[answer in right for answer in ranking] for ranking in every]


def plain_precision(places: list[bool]) -> float:
    right = sum(places)
    return sum(sum(places[: k + 1]) / (k + 1) for k in range(right) if places[k]) / right


@given(QUERY, RIGHT, st.sampled_from(["expected", "worst"]))
def test_true_recall_is_the_mean_over_all_orders(scores, right, ties):
    found = places(np.sort(scores), scores[sorted(right)])
    for cutoff in (1, 3, 5):
        expected = np.mean([sum(order[:cutoff]) / len(right) for order in orders(scores, right, ties == "worst")])
        assert true_recall(found, cutoff, ties) == pytest.approx(expected)


@given(QUERY, RIGHT, st.sampled_from(["expected", "worst"]))
def test_map_at_r_is_the_mean_over_all_orders(scores, right, ties):
    found = places(np.sort(scores), scores[sorted(right)])
    expected = np.mean([plain_precision(order) for order in orders(scores, right, ties == "worst")])
    assert average_precision(found, ties) == pytest.approx(expected)


def test_with_one_right_answer_recall_is_the_hit_rate_and_map_is_the_first_hit():
    scores = np.random.default_rng(0).integers(0, 4, (9, 9)).astype(np.float32)
    for found in outcomes(scores, np.random.default_rng(1).permutation(9)):
        np.testing.assert_allclose(found.recall, found.hit)
        np.testing.assert_allclose(found.precision, found.hit[:, 0])


def test_with_five_captions_an_image_the_first_place_recalls_at_most_a_fifth():
    owner = np.arange(20) // 5
    perfect, _ = outcomes((np.arange(4)[:, None] == owner).astype(np.float32), owner)
    np.testing.assert_allclose(perfect.recall, [[0.2, 1, 1]] * 4)
    np.testing.assert_allclose(perfect.precision, 1)


def test_queries_know_the_image_they_belong_to():
    owner = np.array([2, 0, 2, 2])  # image 1 has no caption
    i2t, t2i = outcomes(np.eye(3, 4, dtype=np.float32), owner)
    assert i2t.images.tolist() == [0, 2]
    assert t2i.images.tolist() == owner.tolist()


def test_blocks_of_rows_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    scores, owner = random.integers(0, 5, (7, 15)).astype(np.float32), random.integers(0, 7, 15)
    whole = outcomes(scores, owner)
    monkeypatch.setattr(recall, "BLOCK_VALUES", 1)
    for one, other in zip(whole, outcomes(scores, owner), strict=True):
        for name in ("rank", "hit", "recall", "precision", "images"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
