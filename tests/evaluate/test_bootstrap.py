"""Intervals: of the right width, by image, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from crossgraph import bootstrap
from crossgraph.evaluate.bootstrap import intervals, mean_samples, resample
from crossgraph.evaluate.outcomes import outcomes
from crossgraph.evaluate.protocol import Protocol, evaluate_scores


def noisy(images: int, each: int = 5, seed: int = 0, signal: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    owner = np.arange(images * each) // each
    scores = np.random.default_rng(seed).standard_normal((images, len(owner)))
    scores[owner, np.arange(len(owner))] += signal
    return scores, owner


def test_the_width_of_a_plain_share_is_the_binomial_one():
    scores, owner = noisy(1000, each=1)
    evaluation = evaluate_scores(scores, owner)
    share = evaluation.whole.i2t.hit[1] / 100
    low, high = evaluation.whole.intervals["i2t R@1"]
    assert low < 100 * share < high
    assert high - low == pytest.approx(2 * 196 * np.sqrt(share * (1 - share) / 1000), rel=0.1)


def test_captions_that_repeat_each_other_do_not_narrow_the_interval():
    scores, owner = noisy(300, each=1)
    five_times = evaluate_scores(np.repeat(scores, 5, axis=1), np.repeat(owner, 5)).whole
    once = evaluate_scores(scores, owner).whole
    assert five_times.t2i.hit == once.t2i.hit
    assert five_times.intervals["t2i R@1"] == pytest.approx(once.intervals["t2i R@1"])


def test_a_perfect_matrix_leaves_no_doubt():
    owner = np.arange(20) // 5
    figures = evaluate_scores((np.arange(4)[:, None] == owner).astype(np.float32), owner).whole
    assert figures.intervals["rSum"] == (600, 600)
    assert figures.intervals["i2t recall@1"] == pytest.approx((20, 20))


def test_images_with_more_captions_weigh_more_from_caption_to_image():
    owner = np.array([0, 1, 1, 1, 1, 1, 1, 1])
    scores = np.where(np.arange(2)[:, None] == owner, 1.0, 0.0)
    scores[:, 0] = [0.0, 1.0]  # the only caption of image 0 fails
    figures = evaluate_scores(scores, owner).whole
    assert figures.t2i.hit[1] == 87.5
    assert figures.intervals["t2i R@1"] == (0, 100)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    scores, owner = noisy(50)
    found = [evaluate_scores(scores, owner, Protocol(seed=seed)).whole.intervals for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_both_directions_see_the_same_draw():
    scores, owner = noisy(200, signal=1.0)
    samples = resample(*outcomes(scores, owner))
    parts = sum(samples[f"{direction} R@{k}"] for direction in ("i2t", "t2i") for k in (1, 5, 10))
    np.testing.assert_allclose(samples["rSum"], parts)
    assert np.corrcoef(samples["i2t R@1"], samples["t2i R@1"])[0, 1] > 0


def test_drawing_in_pieces_changes_nothing(monkeypatch):
    both = outcomes(*noisy(30))
    whole = resample(*both)
    monkeypatch.setattr(bootstrap, "_COUNTS_IN_MEMORY", 100)
    for name, values in resample(*both).items():
        np.testing.assert_allclose(values, whole[name])


def test_a_mean_of_galleries_is_surer_than_one():
    parts = [resample(*outcomes(*noisy(100, seed=seed)), (seed,)) for seed in range(4)]
    widths = [high - low for low, high in (intervals(part)["i2t R@1"] for part in parts)]
    low, high = intervals(mean_samples(parts))["i2t R@1"]
    assert high - low == pytest.approx(np.mean(widths) / 2, rel=0.15)
