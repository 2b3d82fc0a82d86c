"""Short lists by coarse_scores."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.cascade.coarse_scores import short_lists


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 99))
def test_a_list_holds_the_nearest_of_both_sides(images, texts, seed):
    random = np.random.default_rng(seed)
    near = random.standard_normal((images, texts), np.float32)
    pictures, captions = random.integers(1, images + 1), random.integers(1, texts + 1)
    lists = short_lists(near, int(pictures), int(captions))
    wanted = np.zeros(near.shape, bool)
    for row in range(images):
        wanted[row, np.argsort(-near[row])[:captions]] = True
    for column in range(texts):
        wanted[np.argsort(-near[:, column])[:pictures], column] = True
    assert [list(one) for one in lists] == [list(np.flatnonzero(row)) for row in wanted]
