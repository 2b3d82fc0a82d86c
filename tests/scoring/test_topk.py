"""The best answers: highest first, equal ones in their order, as a stable sort of the whole row gives them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crossgraph.scoring import recall
from crossgraph.scoring.topk import best_captions, best_images

SCORES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4).map(float)
)


@given(SCORES, st.integers(1, 14), st.integers(1, 30))
def test_they_are_those_of_a_stable_sort(scores, count, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "BLOCK_VALUES", block)
        captions, caption_scores = best_captions(scores, count)
        images, image_scores = best_images(scores, count)
    np.testing.assert_array_equal(captions, np.argsort(-scores, axis=1, kind="stable")[:, :count])
    np.testing.assert_array_equal(images, np.argsort(-scores.T, axis=1, kind="stable")[:, :count])
    np.testing.assert_array_equal(caption_scores, np.take_along_axis(scores, captions, 1))
    np.testing.assert_array_equal(image_scores, np.take_along_axis(scores.T, images, 1))
