"""How deep the retriever must be searched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crossgraph.bundle.short_list import LEAST, MOST, RECALLS, ShortList, at_recall, choose, places


def test_places_count_from_one_and_ties_come_first():
    coarse_scores = np.array([[0.9, 0.1], [0.5, 0.1], [0.1, 0.2]])
    assert places(coarse_scores, np.array([1, 0]), np.arange(2)).tolist() == [2, 3]


@given(arrays.arrays(np.int64, st.integers(1, 60), elements=st.integers(1, 50)), st.sampled_from(RECALLS))
def test_the_size_is_the_least_that_reaches_the_target(found, recall):
    size = at_recall(found, recall)
    assert (found <= size).mean() >= recall - 1e-9
    assert size == 1 or (found <= size - 1).mean() < recall


def test_a_retriever_that_agrees_needs_one_and_one_that_disagrees_all():
    scores = np.random.default_rng(0).random((50, 80))
    own = np.random.default_rng(1).integers(0, 50, 80)
    assert set(choose(scores, scores, own).sizes.values()) == {1}
    assert set(choose(-scores, scores, own).sizes.values()) == {50}
    assert choose(scores, scores, scores.argmax(axis=0)).match_sizes == choose(scores, scores, own).sizes


def test_a_larger_library_needs_the_same_share_within_bounds():
    found = ShortList(100, 500, {0.9: 5, 0.99: 30}, {})
    assert found.size(100) == 30 and found.size(100, recall=0.9) == LEAST
    assert found.size(1000) == 300 and found.size(1000, recall=0.9) == 50
    assert found.size(1_000_000) == MOST and found.size(7) == 7 and found.size(0) == 0
    assert found.size(1000, recall=0.95) == 300 and found.size(1000, recall=1.0) == 300


def test_it_survives_a_trip_through_json():
    import json

    found = ShortList(100, 500, {0.9: 5, 0.995: 30}, {0.9: 7, 0.995: 100})
    assert ShortList.from_json(json.loads(json.dumps(found.as_json()))) == found
    with pytest.raises(KeyError):
        ShortList.from_json({"gallery": 1})
