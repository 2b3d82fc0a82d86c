"""The reliability plot: a point a bin where it was found, the interval around it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from crossgraph.bundle.calibration import Calibration
from crossgraph.bundle_training.reliability import draw, wilson

BINS = ((0.0, 0.0, 100), (0.04, 0.09, 100), (0.25, 0.25, 100), (1.0, 1.0, 99))


def drawn(bins: tuple[tuple[float, float, int], ...], name: str = "mine") -> str:
    return draw(Calibration(10.0, -5.0, 40, 399, 0.2, 20, 0.0125, bins), name)


def test_a_bin_whose_share_is_as_predicted_lies_on_the_diagonal_and_others_off_it():
    points = [
        tuple(map(float, point))
        for point in re.findall(r'<circle class="bin" cx="([\d.]+)" cy="([\d.]+)"', drawn(BINS))
    ]
    (left, bottom), off, on, (right, top) = points
    assert right - left == bottom - top == 400
    assert off[0] - left == pytest.approx(0.2 * 400) and bottom - off[1] == pytest.approx(0.3 * 400)
    assert on[0] - left == bottom - on[1] == pytest.approx(0.5 * 400)


def test_the_plot_says_what_it_was_measured_on_and_stays_whole_whatever_the_name():
    root = ElementTree.fromstring(drawn(BINS, name='<b>"&"</b>'))
    said = " ".join(root.itertext())
    assert "399 short-list pairs of 40 dev pictures, 20.0 % match" in said
    assert "mean gap 1.25 points" in said and '<b>"&"</b>' in said


@pytest.mark.parametrize(
    ("share", "count", "low", "high"), [(0.5, 100, 0.404, 0.596), (0, 50, 0, 0.0714), (1, 50, 0.9286, 1)]
)
def test_the_interval_is_wilsons(share, count, low, high):
    assert wilson(share, count) == pytest.approx((low, high), abs=5e-4)
