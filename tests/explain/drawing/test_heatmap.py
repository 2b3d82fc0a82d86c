"""A word's weights become a density over the picture: nothing is lost, and what is high stays where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.core.errors import InputError
from crossgraph.explain.drawing.heatmap import density_map, heat_map
from crossgraph.vision.boxes import grid_boxes

SIDES = st.integers(1, 9)


def weights_of(count: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).random(count).astype(np.float32) ** 4
    return drawn / drawn.sum()


@given(SIDES, SIDES, st.integers(1, 50), st.integers(1, 50), st.integers(0, 99))
def test_a_grids_weights_are_all_in_the_map(rows: int, columns: int, height: int, width: int, seed: int) -> None:
    density = density_map(weights_of(rows * columns, seed), grid_boxes(rows, columns).numpy(), height, width)
    assert density.shape == (height, width)
    assert density.min() >= 0
    assert density.mean() == pytest.approx(1, rel=1e-4)


@given(st.integers(1, 12), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_a_detectors_weights_are_all_in_the_map(regions: int, height: int, width: int, seed: int) -> None:
    boxes = np.random.default_rng(seed + 1).uniform(-0.1, 1.1, (regions, 4)).astype(np.float32)
    boxes[0] = 0.5  # a box without area
    density = density_map(weights_of(regions, seed), boxes, height, width)
    assert density.min() >= 0
    assert density.mean() == pytest.approx(1, rel=1e-4)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_a_weight_on_one_cell_peaks_inside_that_cell(rows: int, columns: int, data: st.DataObject) -> None:
    cell = data.draw(st.integers(0, rows * columns - 1))
    boxes = grid_boxes(rows, columns).numpy()
    density = density_map(np.eye(rows * columns, dtype=np.float32)[cell], boxes, 90, 120)
    y, x = np.unravel_index(int(density.argmax()), density.shape)
    left, top, right, bottom = boxes[cell]
    assert left <= (x + 0.5) / 120 <= right
    assert top <= (y + 0.5) / 90 <= bottom


@given(SIDES, SIDES, st.integers(0, 99))
def test_a_mirrored_picture_has_the_mirrored_map(rows: int, columns: int, seed: int) -> None:
    weights, boxes = weights_of(rows * columns, seed), grid_boxes(rows, columns).numpy()
    mirrored = weights.reshape(rows, columns)[:, ::-1].ravel()
    expected = density_map(weights, boxes, 31, 47)[:, ::-1]
    np.testing.assert_allclose(density_map(mirrored, boxes, 31, 47), expected, rtol=1e-4, atol=1e-5)


@given(SIDES, SIDES)
def test_even_weights_are_even_everywhere(rows: int, columns: int) -> None:
    even = np.full(rows * columns, 1 / (rows * columns), np.float32)
    np.testing.assert_allclose(density_map(even, grid_boxes(rows, columns).numpy(), 23, 37), 1, rtol=1e-5)


def test_the_density_at_a_cells_centre_is_the_cells() -> None:
    weights = weights_of(12, 3)
    density = density_map(weights, grid_boxes(3, 4).numpy(), 300, 400)
    np.testing.assert_allclose(density[50::100, 50::100].ravel(), weights * 12, rtol=0.01, atol=0.06)


def test_scales_add_up() -> None:
    boxes = np.concatenate([grid_boxes(4, 4).numpy(), grid_boxes(2, 2).numpy()])
    weights = np.zeros(20, np.float32)
    weights[[0, 16]] = 0.5
    both = density_map(weights, boxes, 40, 40)
    fine = density_map(np.eye(16, dtype=np.float32)[0], grid_boxes(4, 4).numpy(), 40, 40)
    coarse = density_map(np.eye(4, dtype=np.float32)[0], grid_boxes(2, 2).numpy(), 40, 40)
    np.testing.assert_allclose(both, (fine + coarse) / 2, rtol=1e-4, atol=1e-5)


def test_a_box_is_painted_where_it_lies() -> None:
    density = density_map(np.ones(1, np.float32), np.array([[0.25, 0.5, 0.75, 1.0]], np.float32), 8, 8)
    assert (density > 0).sum() == 16
    np.testing.assert_allclose(density[4:, 2:6], 4)


def test_shades_are_relative_to_what_is_stated() -> None:
    boxes, weights = grid_boxes(2, 2).numpy(), np.array([0.7, 0.1, 0.1, 0.1], np.float32)
    own, stated, short = (heat_map(weights, boxes, 64, 64, full) for full in (None, 5.6, 1.4))
    assert own.max() == 1
    assert stated.max() == pytest.approx(0.5, rel=0.05)
    assert short.max() == 1
    assert (short == 1).sum() > 1


def test_no_weight_at_all_is_no_heat() -> None:
    assert not heat_map(np.zeros(4, np.float32), grid_boxes(2, 2).numpy(), 5, 5).any()


def test_without_boxes_there_is_no_map() -> None:
    with pytest.raises(InputError, match="no boxes"):
        heat_map(np.ones(3, np.float32) / 3, None, 10, 10)
