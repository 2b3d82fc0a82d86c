"""Cluster bootstrap: checked against a loop that draws and averages in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from crossgraph import bootstrap
from crossgraph.bootstrap import LEVEL, RESAMPLES, draw_counts, estimate, interval

ITEMS = np.random.default_rng(1).standard_normal((40, 2))
IMAGES = np.random.default_rng(2).integers(0, 9, 40) * 3


def test_an_estimate_is_what_a_loop_over_draws_gives():
    names = sorted(set(IMAGES.tolist()))
    drawn = np.random.default_rng(5).integers(0, len(names), (RESAMPLES, len(names)))
    means = [np.concatenate([ITEMS[names[row] == IMAGES] for row in rows]).mean(axis=0) for rows in drawn]
    low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2], axis=0)
    for column, found in enumerate(estimate(ITEMS, IMAGES, seed=5)):
        assert found.value == pytest.approx(ITEMS[:, column].mean())
        assert found.interval == pytest.approx([low[column], high[column]])


def test_columns_of_the_same_items_see_the_same_draws():
    a, b, difference = estimate(np.column_stack([ITEMS[:, 0], ITEMS[:, 0] + 1, np.ones(40)]), IMAGES)
    assert [b.low - a.low, b.high - a.high] == pytest.approx([1, 1])
    assert difference.interval == [1, 1]


def test_every_draw_takes_as_many_clusters_as_there_are():
    (counts,) = draw_counts(7, seed=0, resamples=20)
    assert counts.shape == (20, 7)
    assert (counts.sum(axis=1) == 7).all()


@pytest.mark.parametrize("limit", [1, 50, 1000])
def test_drawing_in_chunks_changes_no_draw(monkeypatch: pytest.MonkeyPatch, limit: int):
    whole = np.concatenate(list(draw_counts(9, seed=3)))
    monkeypatch.setattr(bootstrap, "_COUNTS_IN_MEMORY", limit)
    np.testing.assert_array_equal(np.concatenate(list(draw_counts(9, seed=3, row_size=20))), whole)


def test_an_interval_holds_its_share_of_the_samples():
    low, high = interval(np.arange(1001.0), level=90.0)
    assert (low, high) == (50, 950)


def test_nothing_measured_has_no_estimate():
    with pytest.raises(ValueError, match="nothing was measured"):
        estimate(np.zeros((0, 1)), np.zeros(0, np.int64))
