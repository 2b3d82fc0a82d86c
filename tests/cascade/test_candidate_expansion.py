"""The second look: errors of pictures and captions are learned, and what may be among the best is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.cascade.candidate_expansion import estimate_scores, expand_candidates
from crossgraph.cascade.coarse_scores import short_lists


def drawn(seed, images=60, texts=90, noise=0.0):
    """Return coarse scores, and scores that differ by a slope, an offset of each picture and caption, and noise."""
    random = np.random.default_rng(seed)
    near = random.standard_normal((images, texts)).astype(np.float32)
    own = random.standard_normal((images, 1)) + random.standard_normal((1, texts))
    return near, (2 * near + own + noise * random.standard_normal(near.shape)).astype(np.float32)


def looked(near, scores, pictures=20, captions=20):
    chosen = short_lists(near, pictures, captions)
    return chosen, estimate_scores(near, chosen, [row[some] for row, some in zip(scores, chosen, strict=True)])


def test_a_guess_knows_the_slope_and_what_each_picture_and_caption_adds():
    near, scores = drawn(0)
    _, guess = looked(near, scores, 60, 90)
    guesses = guess.slope * near + guess.pictures[:, None] + guess.captions
    assert guess.slope == pytest.approx(2, abs=0.05)
    assert np.corrcoef(guesses.ravel(), scores.ravel())[0, 1] > 0.999 > np.corrcoef(near.ravel(), scores.ravel())[0, 1]
    assert guess.deviation == pytest.approx(np.sqrt(np.mean((guesses - scores) ** 2)), rel=1e-3)


def test_from_few_pairs_a_guess_of_the_others_is_nearer_than_nearness():
    near, scores = drawn(1, noise=0.3)
    chosen, guess = looked(near, scores)
    left = np.ones(near.shape, bool)
    for row, some in zip(left, chosen, strict=True):
        row[some] = False
    guesses = guess.slope * near + guess.pictures[:, None] + guess.captions
    plain = np.polyval(np.polyfit(near[left], scores[left], 1), near)
    assert ((guesses - scores)[left] ** 2).mean() < 0.5 * ((plain - scores)[left] ** 2).mean()


def test_probabilities_are_compared_by_their_logits():
    near, scores = drawn(2)
    chosen, plain = looked(near, scores / 4)
    _, guess = looked(near, 1 / (1 + np.exp(-scores / 4)))
    assert guess.slope == pytest.approx(plain.slope, rel=1e-3)
    np.testing.assert_allclose(guess.best_of_captions, plain.best_of_captions, atol=1e-3)
    assert np.isfinite(
        estimate_scores(
            near, chosen, [(row[some] > 0).astype(np.float32) for row, some in zip(scores, chosen, strict=True)]
        ).deviation
    )  # saturated


def test_the_tenth_best_is_the_least_where_there_are_fewer():
    near, scores = drawn(3, images=6, texts=30)
    _, guess = looked(near, scores, 6, 30)
    np.testing.assert_allclose(guess.best_of_pictures, -np.sort(-scores, axis=1)[:, 9])
    np.testing.assert_allclose(guess.best_of_captions, scores.min(axis=0))


@given(st.integers(0, 999), st.floats(0, 4), st.floats(0, 4))
def test_what_is_missing_by_less_than_a_margin_is_looked_at_once(seed, of_captions, of_pictures):
    near, scores = drawn(seed, 12, 17, noise=0.5)
    chosen, guess = looked(near, scores, 3, 3)
    more = expand_candidates(near, guess, chosen, of_captions, of_pictures)
    captions, pictures = guess.missing(near, slice(None), slice(None))
    wanted = (captions < of_captions * guess.deviation) | (pictures < of_pictures * guess.deviation)
    for row, (scored, asked) in enumerate(zip(chosen, more, strict=True)):
        wanted[row, scored] = False
        np.testing.assert_array_equal(asked, np.flatnonzero(wanted[row]))


def test_without_a_margin_every_pair_is_looked_at():
    near, scores = drawn(4, 12, 17)
    chosen, guess = looked(near, scores, 3, 3)
    for more in (expand_candidates(near, guess, chosen, None, 1.0), expand_candidates(near, guess, chosen, 1.0, None)):
        for one, other in zip(chosen, more, strict=True):
            assert sorted([*one, *other]) == list(range(17))


def test_wide_margins_find_the_best_ten_where_nearness_alone_does_not():
    near, scores = drawn(5, 200, 300, noise=0.2)
    chosen, guess = looked(near, scores)
    more = expand_candidates(near, guess, chosen, 4.0, 4.0)
    before, found = np.zeros(near.shape, bool), np.zeros(near.shape, bool)
    for row, (one, other) in enumerate(zip(chosen, more, strict=True)):
        before[row, one] = found[row, one] = found[row, other] = True
    for best in (scores >= -np.sort(-scores, axis=1)[:, 9:10], scores >= -np.sort(-scores, axis=0)[9:10]):
        assert found[best].mean() > 0.999 > 0.95 > before[best].mean()
    assert found.mean() < 0.5


def test_nearness_that_says_nothing_is_no_error():
    near, scores = np.zeros((30, 50), np.float32), drawn(6, 30, 50)[1]
    _, guess = looked(near, scores, 3, 3)
    assert guess.slope == 0
    assert all(np.isfinite(block).all() for block in guess.missing(near, slice(None), slice(None)))
