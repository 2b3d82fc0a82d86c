"""A score becomes the probability of a match."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.bundle.calibration import Calibration, calibrate, fit_platt, reliability, sigmoid


def drawn(slope: float, offset: float, pairs: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and matches drawn from a known curve."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 1, pairs)
    return scores, random.random(pairs) < sigmoid(slope * scores + offset)


@pytest.mark.parametrize(("slope", "offset"), [(12.0, -8.0), (3.0, -1.0), (0.0, -2.0)])
def test_the_curve_that_made_the_matches_is_found_again(slope, offset):
    found = fit_platt(*drawn(slope, offset))
    assert found == pytest.approx((slope, offset), rel=0.1, abs=0.15)


def test_scores_apart_without_overlap_still_give_finite_numbers():
    slope, offset = fit_platt(np.array([0.1, 0.2, 0.8, 0.9] * 50), np.array([False, False, True, True] * 50))
    p = sigmoid(slope * np.array([0.0, 0.15, 0.85, 1.0]) + offset)
    assert np.isfinite(p).all() and p[1] < 0.05 and p[2] > 0.95


@pytest.mark.parametrize("kind", [True, False])
def test_pairs_of_one_kind_teach_nothing(kind):
    with pytest.raises(ValueError, match="one kind"):
        fit_platt(np.array([0.1, 0.5]), np.array([kind, kind]))


def test_a_calibration_holds_on_pictures_it_has_not_seen():
    scores, matches = drawn(10, -6)
    found = calibrate(scores, matches, np.repeat(np.arange(2000), 10), gallery=2000, short_list=10)
    assert found.expected_error < 0.02
    assert found.prior == pytest.approx(matches.mean())
    assert sum(count for _, _, count in found.bins) == found.pairs == 20_000
    fresh, truth = drawn(10, -6, seed=1)
    sure = found.probability(fresh) >= 0.5
    assert truth[sure].mean() > 0.5 > truth[~sure].mean()


def test_it_survives_a_trip_through_json():
    import json

    found = calibrate(*drawn(5, -2, 400), np.arange(400), gallery=400, short_list=1)
    assert Calibration.from_json(json.loads(json.dumps(found.as_json()))) == found
    with pytest.raises(TypeError):
        Calibration.from_json({**found.as_json(), "more": 1})


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20, unique=True), st.floats(0.1, 100), st.floats(-50, 50))
def test_a_higher_score_is_never_less_probable(scores, slope, offset):
    found = Calibration(slope, offset, 1, 1, 0.5, 1, 0.0, ())
    p = found.probability(np.sort(np.array(scores)))
    assert ((p >= 0) & (p <= 1)).all() and (np.diff(p) >= 0).all()


def test_bins_hold_about_equally_many_matches_and_every_pair_once():
    predicted = np.linspace(0, 1, 951)
    bins = reliability(predicted, predicted > 0.5)
    assert sum(count for *_, count in bins) == 951 and len(bins) == 10
    assert [mean * count for mean, _, count in bins] == pytest.approx([47.55] * 10, abs=1.1)
    assert bins[0][1] == 0 and bins[-1][1] == 1


def test_one_pair_that_takes_all_probability_leaves_fewer_bins():
    assert reliability(np.array([0.0, 0.0, 1.0]), np.array([False, False, True])) == [(0.0, 0.0, 2), (1.0, 1.0, 1)]
