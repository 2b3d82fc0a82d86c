"""Ranks and recalls: ties at their probability, any number of captions, numbers or nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crossgraph.core.errors import InputError
from crossgraph.scoring import recall
from crossgraph.scoring.recall import NonFiniteScore, Recalls, ranks, recalls, summarise

FIVES = np.arange(20) // 5


@st.composite
def matrices(draw, most_images=6, values=None) -> tuple[np.ndarray, np.ndarray]:
    """Score matrices with many ties, images with 0 to 4 captions, captions in any order."""
    images = draw(st.integers(1, most_images))
    owner = draw(st.lists(st.integers(0, images - 1), min_size=1, max_size=4 * images))
    values = values or st.integers(-2, 2).map(float)
    scores = draw(hnp.arrays(np.float64, (images, len(owner)), elements=values))
    return scores, np.array(owner, np.int64)


def by_shuffling(scores: np.ndarray, right: set[int], cutoff: int) -> tuple[float, float]:
    """Return the mean best rank and the hit rate over all orders of a query's equal scores."""
    found, hits = [], []
    for order in itertools.permutations(range(len(scores))):
        ranking = sorted(order, key=lambda answer: -scores[answer])
        best = min(ranking.index(answer) for answer in right)
        found.append(best)
        hits.append(best < cutoff)
    return float(np.mean(found)), float(np.mean(hits))


@given(hnp.arrays(np.float64, 5, elements=st.integers(0, 2).map(float)), st.sets(st.integers(0, 4), min_size=1))
def test_a_tied_query_counts_as_the_mean_over_all_orders(scores, right):
    # image 0 asks, and the captions that are not its own belong to image 1
    matrix = np.stack([scores, np.zeros(5)])
    owner = np.array([0 if caption in right else 1 for caption in range(5)])
    i2t, _ = ranks(matrix, owner)
    for cutoff in (1, 2, 3):
        rank, hit = by_shuffling(scores, right, cutoff)
        assert i2t.rank()[0] == pytest.approx(rank)
        assert i2t.hit(cutoff)[0] == pytest.approx(hit)


@given(matrices())
def test_the_worst_case_bounds_the_expected_one(drawn):
    for found in ranks(*drawn):
        assert (found.above <= found.rank()).all()
        assert (found.rank() <= found.rank("worst")).all()
        for cutoff in (1, 5, 10):
            assert (found.hit(cutoff, "worst") <= found.hit(cutoff) + 1e-12).all()
            assert ((found.hit(cutoff) >= 0) & (found.hit(cutoff) <= 1)).all()


@given(matrices(), st.randoms())
def test_the_order_of_images_and_captions_decides_nothing(drawn, random):
    scores, owner = drawn
    images, captions = list(range(scores.shape[0])), list(range(scores.shape[1]))
    random.shuffle(images)
    random.shuffle(captions)
    moved = np.argsort(images)[owner][captions]
    assert close(recalls(scores, owner), recalls(scores[images][:, captions], moved))


@given(matrices(), st.sampled_from([lambda s: s + 7, lambda s: 3 * s, lambda s: s**3, lambda s: np.exp(s / 2)]))
def test_only_the_order_of_scores_counts(drawn, change):
    scores, owner = drawn
    assert recalls(scores, owner) == recalls(change(scores), owner)


@given(matrices(), st.integers(1, 9))
def test_blocks_of_rows_change_nothing(drawn, size):
    scores, owner = drawn
    whole = recalls(scores, owner)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "BLOCK_VALUES", size)
        assert recalls(scores, owner) == whole


@given(matrices(most_images=12))
def test_a_perfect_matrix_scores_100(drawn):
    _, owner = drawn
    images = max(owner) + 1
    perfect = recalls((np.arange(images)[:, None] == owner).astype(np.float32), owner)
    assert perfect.rsum == 600
    assert perfect.i2t.mean_rank == perfect.t2i.mean_rank == perfect.t2i.median_rank == 1


def test_equal_scores_everywhere_score_as_chance_does():
    found = recalls(np.zeros((4, 20), np.float32), FIVES)
    assert found.t2i.recall == {1: 25.0, 5: 100.0, 10: 100.0}
    assert found.i2t.recall[1] == pytest.approx(25.0)
    assert found.t2i.mean_rank == 2.5
    assert found.i2t.tied == found.t2i.tied == 100.0


def test_equal_scores_everywhere_in_the_worst_case_find_nothing():
    found = recalls(np.zeros((20, 100), np.float32), np.arange(100) // 5, "worst")
    assert found.rsum == 0
    assert found.i2t.mean_rank == 96
    assert found.t2i.mean_rank == 20


def test_captions_of_one_image_that_tie_with_each_other_are_no_tie():
    scores = np.array([[2.0, 2.0, 1.0], [0.0, 0.0, 3.0]])
    i2t, _ = ranks(scores, np.array([0, 0, 1]))
    assert not i2t.tied.any()


def test_an_image_without_captions_asks_nothing_but_can_be_a_wrong_answer():
    i2t, t2i = ranks(np.array([[1.0, 0.0], [5.0, 5.0], [0.0, 1.0]]), np.array([0, 2]))
    assert i2t.queries.tolist() == [0, 2]
    assert t2i.above.tolist() == [1, 1]


def test_the_median_rank_is_the_floor_of_the_median_plus_one():
    scores = np.array([[3.0, 0, 0, 0], [4, 2, 1, 1], [4, 3, 3, 3], [4, 3, 3, 4]])
    found = summarise(ranks(scores, np.arange(4))[1])
    assert found.median_rank == 2  # 0-based ranks 3, 2, 1, 0, of which the median is 1.5


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, r"\+infinity"), (-np.inf, "-infinity")])
def test_a_score_that_is_no_number_is_refused_by_its_place(value, name):
    scores = np.ones((4, 20), np.float32)
    scores[2, 13] = value
    with pytest.raises(NonFiniteScore, match=f"image 2 with caption 13 .* is {name}") as refused:
        recalls(scores, FIVES)
    named = refused.value.named("scores.npy", ["a", "b", "c.jpg", "d"], [f"caption {i}" for i in range(20)])
    assert "scores.npy: the score of image 'c.jpg' with the caption \"caption 13\"" in str(named)


@pytest.mark.parametrize(
    ("shape", "owner", "message"),
    [
        ((4, 19), FIVES, "19 captions and the data 20"),
        ((3, 20), FIVES, "3 images and the captions speak of image 3"),
        ((20,), FIVES, "shape"),
        ((4, 0), FIVES[:0], "no captions"),
        ((4, 20), FIVES - 1, "captions speak of image"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(shape, owner, message):
    with pytest.raises(InputError, match=message):
        recalls(np.zeros(shape, np.float32), owner)


def close(one: Recalls, other: Recalls) -> bool:
    pairs = [(one.i2t, other.i2t), (one.t2i, other.t2i)]
    return all(
        list(a.recall.values()) == pytest.approx(list(b.recall.values()))
        and (a.median_rank, a.mean_rank, a.tied) == pytest.approx((b.median_rank, b.mean_rank, b.tied))
        for a, b in pairs
    )
