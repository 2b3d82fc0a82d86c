"""The first images of a split, with all their captions and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from references.tiny_matcher import tiny_model, tiny_split

from crossgraph.core.errors import InputError
from crossgraph.data.subset import first_images
from crossgraph.scoring.engine import score_split


def test_scores_of_the_first_images_are_a_corner_of_all_scores():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    some = first_images(split, 4)
    kept = np.flatnonzero(split.caption_image < 4)
    assert some.captions == [split.captions[row] for row in kept]
    whole = score_split(model, vocabulary, split)
    np.testing.assert_allclose(score_split(model, vocabulary, some), whole[:4][:, kept], atol=1e-6)
    assert some.fingerprint() != split.fingerprint()


def test_a_limit_beyond_the_split_changes_nothing():
    split = tiny_split()
    assert first_images(split, 1000) is split


def test_a_limit_that_leaves_nothing_is_refused():
    with pytest.raises(InputError, match="limit of 0 images"):
        first_images(tiny_split(), 0)
