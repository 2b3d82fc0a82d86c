"""Turns a word's region weights into a density over the picture.

The unit is an even spread: a word that looks at the whole picture alike has 1 everywhere, a word that gives a spot
four times its share of the area has 4 there. So maps of a 7 × 7 and of a 14 × 14 grid, and of a detector's boxes,
mean the same, and the map of a word whose weights sum to 1 has the mean 1.
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
    weights = np.asarray(weights, dtype=np.float64)
    if grids := find_grids(boxes):
        density = np.zeros((height, width))
        for grid in grids:
            density += _grid_density(weights[grid.start : grid.stop], grid, height, width)
    else:
        density = _box_density(weights, np.asarray(boxes, dtype=np.float64), height, width)
    mean = float(density.mean())
    if mean > 0:  # pixels only sample the interpolation, so that the sum of the weights must be restored
        density *= weights.sum() / mean
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
    return _interpolation(grid.rows, height) @ cells @ _interpolation(grid.columns, width).T


def _interpolation(cells: int, pixels: int) -> Float[np.ndarray, "pixel cell"]:
    """Return each pixel's shares of the two cells whose centres it lies between; the edge's cell outside of them."""
    position = np.clip((np.arange(pixels) + 0.5) / pixels * cells - 0.5, 0, cells - 1)
    first = np.minimum(position.astype(np.int64), max(cells - 2, 0))
    shares = np.zeros((pixels, cells))
    rows = np.arange(pixels)
    shares[rows, np.minimum(first + 1, cells - 1)] = position - first
    shares[rows, first] += 1 - (position - first)
    return shares


def _box_density(
    weights: Float[np.ndarray, " region"], boxes: Float[np.ndarray, "region 4"], height: int, width: int
) -> Float[np.ndarray, "height width"]:
    across = _pixel_coverage(boxes[:, 0], boxes[:, 2], width)
    down = _pixel_coverage(boxes[:, 1], boxes[:, 3], height)
    areas = across.sum(axis=1) * down.sum(axis=1) / (height * width)
    return (down * (weights / areas)[:, None]).T @ across


def _pixel_coverage(
    first: Float[np.ndarray, " region"], last: Float[np.ndarray, " region"], pixels: int
) -> Float[np.ndarray, "region pixel"]:
    """Return how much of each pixel a box covers along one axis; a box thinner than a pixel covers one whole."""
    low = np.clip(np.minimum(first, last) * pixels, 0, pixels)
    high = np.clip(np.maximum(first, last) * pixels, 0, pixels)
    thin = high - low < 1
    low = np.where(thin, np.minimum(np.floor(low), pixels - 1), low)
    high = np.where(thin, low + 1, high)
    edges = np.arange(pixels)
    return np.clip(np.minimum(high[:, None], edges + 1) - np.maximum(low[:, None], edges), 0, 1)
