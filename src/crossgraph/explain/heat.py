"""A word's region weights as a density over the picture.

The unit is the even spread: 1 everywhere is a word that looks at the whole picture alike, 4 somewhere is a
word that gives this spot four times its share of the area. So maps of a 7 × 7 and of a 14 × 14 grid, and of
a detector's boxes, mean the same, and the map of a word whose weights sum to 1 has the mean 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from crossgraph.core.errors import InputError
from crossgraph.vision.boxes import Grid, find_grids

Boxes = Float[np.ndarray, "region 4"]


def density_map(
    weights: Float[np.ndarray, " region"], boxes: Boxes | None, height: int, width: int
) -> Float32[np.ndarray, "height width"]:
    """Spread region weights over the picture.

    A grid's weights are interpolated bilinearly between the centres of its cells, where the density is
    exact; several grids (scales) are summed. Any other box spreads its weight evenly over its area.

    Args:
        weights: Not negative.
        boxes: xyxy in 0..1; what lies outside the picture is cut off. None where they are not known.
        height: Of the map, in pixels.
        width: Of the map, in pixels.

    Returns:
        Density in units of an even spread; its mean is the sum of the weights.

    Raises:
        InputError: `boxes` is None.
    """
    if boxes is None:
        raise InputError(
            "the regions of these features have no boxes, so nothing can be laid over the picture",
            "give the boxes with --boxes FILE.npy (R × 4: left, top, right, bottom, from 0 to 1)",
        )
    given = np.asarray(weights, dtype=np.float64)
    grids = find_grids(boxes)
    if grids:
        density = sum(
            (_grid_density(given[grid.start : grid.stop], grid, height, width) for grid in grids),
            start=np.zeros((height, width)),
        )
    else:
        density = _box_density(given, np.asarray(boxes, dtype=np.float64), height, width)
    mean = float(density.mean())
    if mean > 0:  # pixels sample the interpolation: what they miss or count twice is given back
        density *= given.sum() / mean
    return density.astype(np.float32)


def heat_map(
    weights: Float[np.ndarray, " region"],
    boxes: Boxes | None,
    height: int,
    width: int,
    full: float | None = None,
) -> Float32[np.ndarray, "height width"]:
    """Spread region weights over the picture as shades from 0 to 1.

    Args:
        weights: Not negative.
        boxes: xyxy in 0..1, or None where they are not known.
        height: Of the map, in pixels.
        width: Of the map, in pixels.
        full: The density, in units of an even spread, that is shown as 1; denser spots are 1 too. None
            takes the map's own densest spot. Maps are comparable only with the same `full`.

    Raises:
        InputError: `boxes` is None.
    """
    density = density_map(weights, boxes, height, width)
    top = float(density.max(initial=0)) if full is None else full
    return np.clip(density / top, 0, 1) if top > 0 else np.zeros_like(density)


def _grid_density(
    weights: Float[np.ndarray, " cell"], grid: Grid, height: int, width: int
) -> Float[np.ndarray, "height width"]:
    cells = weights.reshape(grid.rows, grid.columns) * (grid.rows * grid.columns)
    return _between(grid.rows, height) @ cells @ _between(grid.columns, width).T


def _between(cells: int, pixels: int) -> Float[np.ndarray, "pixel cell"]:
    """Return each pixel's shares of the two cells whose centres it lies between; the edge's cell outside of them."""
    place = np.clip((np.arange(pixels) + 0.5) / pixels * cells - 0.5, 0, cells - 1)
    first = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    shares = np.zeros((pixels, cells))
    rows = np.arange(pixels)
    shares[rows, np.minimum(first + 1, cells - 1)] = place - first
    shares[rows, first] += 1 - (place - first)
    return shares


def _box_density(
    weights: Float[np.ndarray, " region"], boxes: Float[np.ndarray, "region 4"], height: int, width: int
) -> Float[np.ndarray, "height width"]:
    across = _covered(boxes[:, 0], boxes[:, 2], width)
    down = _covered(boxes[:, 1], boxes[:, 3], height)
    areas = across.sum(axis=1) * down.sum(axis=1) / (height * width)
    return (down * (weights / areas)[:, None]).T @ across


def _covered(
    first: Float[np.ndarray, " region"], last: Float[np.ndarray, " region"], pixels: int
) -> Float[np.ndarray, "region pixel"]:
    """Return how much of each pixel lies between two places; what is thinner than a pixel takes one whole."""
    low = np.clip(np.minimum(first, last) * pixels, 0, pixels)
    high = np.clip(np.maximum(first, last) * pixels, 0, pixels)
    thin = high - low < 1
    low = np.where(thin, np.minimum(np.floor(low), pixels - 1), low)
    high = np.where(thin, low + 1, high)
    edges = np.arange(pixels)
    return np.clip(np.minimum(high[:, None], edges + 1) - np.maximum(low[:, None], edges), 0, 1)
