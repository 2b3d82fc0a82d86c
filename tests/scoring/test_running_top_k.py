"""The best answers kept piece by piece are those of the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.core.errors import InputError
from crossgraph.scoring.engine import ScoreBlock
from crossgraph.scoring.score_file import ScoreInfo, write_best
from crossgraph.scoring.topk import RunningTopK, best_captions, best_images

INFO = ScoreInfo([{"run": "r", "model": "tiny"}], "test", "p" * 64, "f" * 64, "tiny", "float32", "cpu")


def portions(scores, rows, columns):
    for column in range(0, scores.shape[1], columns):
        for row in range(0, scores.shape[0], rows):
            yield ScoreBlock(row, column, scores[row : row + rows, column : column + columns])


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99)
)
def test_pieces_give_what_the_whole_gives_ties_too(images, captions, places, rows, columns, seed):
    scores = np.random.default_rng(seed).integers(0, 4, (images, captions)).astype(np.float32)
    kept = RunningTopK(images, min(places, captions))
    for part in portions(scores, rows, columns):
        kept.add(part.image, part.caption, part.scores)
    answers, values = best_captions(scores, places)
    np.testing.assert_array_equal(kept.answers, answers)
    np.testing.assert_array_equal(kept.scores, values)


def test_both_directions_are_written(tmp_path):
    scores = np.random.default_rng(0).standard_normal((6, 20)).astype(np.float32)
    info = write_best(tmp_path / "best.npz", portions(scores, 4, 7), scores.shape, 3, INFO)
    found = np.load(tmp_path / "best.npz")
    np.testing.assert_array_equal(found["captions"], best_captions(scores, 3)[0])
    np.testing.assert_array_equal(found["images"], best_images(scores, 3)[0])
    np.testing.assert_allclose(found["image_scores"], best_images(scores, 3)[1])
    assert len(info.sha256) == 64
    assert (tmp_path / "best.npz.json").exists()


def test_nothing_is_no_number_of_places(tmp_path):
    with pytest.raises(InputError, match="keeps nothing"):
        write_best(tmp_path / "best.npz", iter([]), (1, 1), 0, INFO)


def test_a_score_that_is_no_number_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError, match="NaN"):
        write_best(tmp_path / "best.npz", [ScoreBlock(0, 0, np.array([[np.nan]], np.float32))], (1, 1), 1, INFO)
    assert not list(tmp_path.iterdir())
