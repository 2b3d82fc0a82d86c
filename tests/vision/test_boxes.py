"""Grids are told from a detector's boxes by the boxes alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.vision.boxes import Grid, find_grids, grid_boxes

SIDES = st.integers(1, 20)


@given(SIDES, SIDES)
def test_a_grid_is_found_with_its_rows_and_columns(rows: int, columns: int) -> None:
    assert find_grids(grid_boxes(rows, columns)) == [Grid(0, rows, columns)]


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=4))
def test_stacked_grids_are_found_one_after_another(sizes: list[tuple[int, int]]) -> None:
    boxes = torch.cat([grid_boxes(rows, columns) for rows, columns in sizes])
    grids = find_grids(boxes)
    assert [(grid.rows, grid.columns) for grid in grids] == sizes
    assert [grid.start for grid in grids] == [0, *(grid.stop for grid in grids[:-1])]
    assert grids[-1].stop == len(boxes)


def test_boxes_stored_as_float16_are_still_a_grid() -> None:
    assert find_grids(grid_boxes(14, 14).half().numpy()) == [Grid(0, 14, 14)]


@pytest.mark.parametrize(
    "boxes",
    [
        np.zeros((0, 4)),
        np.zeros((3, 4)),
        np.full((3, 4), np.nan),
        np.array([[0.1, 0.1, 0.6, 0.9], [0.0, 0.0, 1.0, 1.0]]),
        np.array([[0.6, 0.6, 0.1, 0.1]]),
        grid_boxes(7, 7)[:-1].numpy(),
        grid_boxes(7, 7).flip(0).numpy(),
        np.concatenate([grid_boxes(7, 7), [[0.2, 0.2, 0.5, 0.5]]]),
    ],
    ids=["none", "padding", "nan", "detector", "upside down", "a cell missing", "reversed", "a box behind the grid"],
)
def test_anything_else_is_no_grid(boxes: np.ndarray) -> None:
    assert find_grids(boxes) == []
