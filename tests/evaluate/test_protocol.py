"""Galleries: the whole one, consecutive slices, and their mean."""

from __future__ import annotations

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.evaluate.matrices import Mean, select_pairs
from crossgraph.evaluate.protocol import Protocol, evaluate_scores


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    owner = random.permutation(np.repeat(np.arange(11), 1 + np.arange(11) % 3))
    return random.standard_normal((11, len(owner))).astype(np.float32), owner


def test_a_slice_is_its_own_little_gallery(drawn):
    scores, owner = drawn
    evaluation = evaluate_scores(scores, owner, Protocol(slices=2, resamples=10))
    for number, figures in enumerate(evaluation.slices):
        kept = np.flatnonzero((owner >= 5 * number) & (owner < 5 * number + 5))
        alone = evaluate_scores(scores[5 * number : 5 * number + 5][:, kept], owner[kept] - 5 * number)
        assert figures.i2t == alone.whole.i2t
        assert figures.t2i == alone.whole.t2i


def test_what_no_slice_holds_is_counted(drawn):
    evaluation = evaluate_scores(*drawn, Protocol(slices=2, resamples=10))
    assert [figures.images for figures in evaluation.slices] == [5, 5]
    assert evaluation.left_out == 1
    assert evaluation.slice_mean.gallery == "mean of 2 slices of 5 images"


def test_the_mean_is_that_of_the_slices(drawn):
    evaluation = evaluate_scores(*drawn, Protocol(slices=3, resamples=10))
    assert evaluation.slice_mean.rsum == pytest.approx(np.mean([figures.rsum for figures in evaluation.slices]))
    assert evaluation.slice_mean.t2i.hit[1] == pytest.approx(np.mean([f.t2i.hit[1] for f in evaluation.slices]))


def test_one_slice_is_no_slice(drawn):
    evaluation = evaluate_scores(*drawn, Protocol(slices=1, resamples=10))
    assert evaluation.slices == []
    assert evaluation.slice_mean is None


@pytest.mark.parametrize("slices", [0, -1, 12])
def test_slices_that_cannot_be_cut_are_refused(drawn, slices):
    with pytest.raises(InputError, match=f"--slices {slices}"):
        evaluate_scores(*drawn, Protocol(slices=slices))


def test_a_part_of_a_mean_is_the_mean_of_parts(drawn):
    scores, owner = drawn
    part, own = select_pairs(Mean([scores, scores**2]), owner, slice(2, 7))
    kept = np.flatnonzero((owner >= 2) & (owner < 7))
    expected = (scores.astype(np.float64) + scores**2)[2:7][:, kept] / 2
    assert part.shape == expected.shape
    np.testing.assert_allclose(part[slice(1, 4)], expected[1:4], rtol=1e-6)
    np.testing.assert_array_equal(own, owner[kept] - 2)


def test_a_part_is_read_from_a_memory_map_without_copying_the_whole(tmp_path, drawn):
    scores, _ = drawn
    owner = np.sort(drawn[1])
    np.save(tmp_path / "s.npy", scores)
    part, _ = select_pairs(np.load(tmp_path / "s.npy", mmap_mode="r"), owner, slice(2, 7))
    assert isinstance(part[slice(0, 5)], np.memmap)
