"""Measures whether a word looks where its object is: the pointing game, and the energy inside the box.

Both are asked of words that name a boxed object of the picture. The pointing game (Zhang et al., ECCV 2016) takes
the region of the largest weight, and hits when the centre of that region's box lies in one of the object's boxes.
Energy (Wang et al., CVPR Workshops 2020) is Σ_r w_r · |r ∩ boxes| / |r|: how much of the word's weight lies on the
object, each region's weight spread evenly over its box.

Large objects are hit by anything, so two baselines that know no word are measured too: *centre* points at the
picture's centre and puts its weight on the region(s) there; *uniform* weighs all regions alike and points at any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

METHODS = ("model", "centre", "uniform")


@dataclass(frozen=True)
class PointingResult:
    """The measures of one word in one picture.

    Attributes:
        hit: Pointing game by method: 1 or 0, or the share of equally strong regions that hit.
        energy: Share of the weight inside the boxes, by method.
    """

    hit: dict[str, float]
    energy: dict[str, float]


def measure_pointing(
    weights: Float[np.ndarray, " region"],
    regions: Float[np.ndarray, "region 4"],
    boxes: Float[np.ndarray, "box 4"],
) -> PointingResult:
    """Return the measures of one word, of the model and of both baselines.

    Args:
        weights: The word's; they sum to 1.
        regions: xyxy in 0..1.
        boxes: Of the object, xyxy in 0..1; at least one.
    """
    inside = centres_inside(regions, boxes)
    covered = coverage(regions, boxes)
    even = np.full(len(regions), 1.0 / len(regions))
    x, y = _centres(regions)
    distance = np.hypot(x - 0.5, y - 0.5)
    central = distance <= distance.min() + 1e-6  # several where the distance is the same
    return PointingResult(
        hit={
            "model": float(inside[weights == weights.max()].mean()),
            "centre": float(centres_inside(np.full((1, 4), 0.5), boxes)[0]),
            "uniform": float(inside.mean()),
        },
        energy={
            "model": float(weights @ covered),
            "centre": float(covered[central].mean()),
            "uniform": float(even @ covered),
        },
    )


def centres_inside(regions: Float[np.ndarray, "region 4"], boxes: Float[np.ndarray, "box 4"]) -> Bool[np.ndarray, " r"]:
    """Return whether each region's centre lies in one of the boxes, edges included."""
    x, y = _centres(regions)
    wide = (boxes[:, 0] <= x[:, None]) & (x[:, None] <= boxes[:, 2])
    high = (boxes[:, 1] <= y[:, None]) & (y[:, None] <= boxes[:, 3])
    return np.any(wide & high, axis=1)


def coverage(regions: Float[np.ndarray, "region 4"], boxes: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, " r"]:
    """Return the share of each region that the union of the boxes covers; exact, however the boxes overlap.

    The boxes' edges cut the picture into cells that are covered whole or not at all. A region without area
    counts by its centre.
    """
    x, y = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    across = (boxes[:, 0, None] <= x[:-1]) & (x[1:] <= boxes[:, 2, None])
    down = (boxes[:, 1, None] <= y[:-1]) & (y[1:] <= boxes[:, 3, None])
    cells = (across[:, :, None] & down[:, None, :]).any(axis=0).astype(np.float64)
    widths = np.clip(np.minimum(regions[:, 2, None], x[1:]) - np.maximum(regions[:, 0, None], x[:-1]), 0, None)
    heights = np.clip(np.minimum(regions[:, 3, None], y[1:]) - np.maximum(regions[:, 1, None], y[:-1]), 0, None)
    area = (regions[:, 2] - regions[:, 0]) * (regions[:, 3] - regions[:, 1])
    shared = np.einsum("rx,xy,ry->r", widths, cells, heights)
    share = shared / np.where(area > 0, area, 1.0)
    return np.where(area > 0, np.minimum(share, 1.0), centres_inside(regions, boxes))


def _centres(regions: Float[np.ndarray, "region 4"]) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    return (regions[:, 0] + regions[:, 2]) / 2, (regions[:, 1] + regions[:, 3]) / 2
