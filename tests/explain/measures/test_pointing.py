"""Pointing and energy: exact areas, fair ties, and baselines that know no word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.explain.measures.pointing import centres_inside, coverage, measure_pointing
from crossgraph.vision.boxes import grid_boxes

GRID = grid_boxes(4, 4).numpy().astype(np.float64)


def only(cell: int) -> np.ndarray:
    return np.eye(16)[cell]


def boxes_of(draw_from: list[float]) -> st.SearchStrategy[list[float]]:
    return st.tuples(*[st.sampled_from(draw_from)] * 4).map(
        lambda v: [min(v[0], v[1]), min(v[2], v[3]), max(v[0], v[1]), max(v[2], v[3])]
    )


def test_all_weight_in_the_box_hits_and_all_energy_is_inside():
    found = measure_pointing(only(5), GRID, GRID[[5]])
    assert found.hit["model"] == found.energy["model"] == 1


def test_weight_elsewhere_misses():
    found = measure_pointing(only(0), GRID, GRID[[5]])
    assert found.hit["model"] == found.energy["model"] == 0


def test_a_region_half_in_the_box_gives_half_its_energy():
    found = measure_pointing(only(0), GRID, np.array([[0.125, 0.0, 1.0, 0.25]]))
    assert found.energy["model"] == pytest.approx(0.5)


def test_overlapping_boxes_count_once():
    found = measure_pointing(only(5), GRID, np.repeat(GRID[[5]], 3, axis=0))
    assert found.energy["model"] == pytest.approx(1)


def test_equal_weights_are_exactly_the_uniform_baseline():
    found = measure_pointing(np.full(16, 1 / 16), GRID, np.array([[0.1, 0.2, 0.7, 0.9]]))
    assert found.hit["model"] == found.hit["uniform"]
    assert found.energy["model"] == pytest.approx(found.energy["uniform"])


def test_uniform_gets_what_the_boxes_area_gives():
    assert measure_pointing(only(0), GRID, np.array([[0.0, 0.0, 0.5, 1.0]])).energy["uniform"] == pytest.approx(0.5)


def test_centre_points_at_the_middle_and_shares_its_weight_among_the_regions_there():
    found = measure_pointing(only(0), GRID, np.array([[0.0, 0.0, 0.5, 0.5]]))
    assert found.hit["centre"] == 1
    assert found.energy["centre"] == pytest.approx(0.25)
    assert measure_pointing(only(0), GRID, GRID[[0]]).hit["centre"] == 0


def test_a_region_without_area_counts_by_its_centre():
    regions = np.array([[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.1]])
    assert coverage(regions, np.array([[0.4, 0.4, 0.6, 0.6]])).tolist() == [1, 0]


@given(
    st.lists(boxes_of([0, 0.1, 0.25, 0.5, 0.6, 1]), min_size=1, max_size=5),
    st.lists(boxes_of([0, 0.2, 0.25, 0.5, 0.9, 1]), min_size=1, max_size=4),
)
def test_coverage_is_what_counting_fine_pixels_gives(boxes: list[list[float]], regions: list[list[float]]):
    pixels = (np.arange(100) + 0.5) / 100
    x, y = np.meshgrid(pixels, pixels)
    inside = np.zeros_like(x, dtype=bool)
    for left, top, right, bottom in boxes:
        inside |= (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    found = coverage(np.array(regions, dtype=np.float64), np.array(boxes, dtype=np.float64))
    for share, (left, top, right, bottom) in zip(found, regions, strict=True):
        if left < right and top < bottom:
            mine = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
            assert share == pytest.approx(inside[mine].mean(), abs=1e-9)


def test_centres_on_an_edge_are_inside():
    assert centres_inside(np.array([[0.0, 0.0, 0.5, 0.5]]), np.array([[0.25, 0.25, 1.0, 1.0]])).all()
