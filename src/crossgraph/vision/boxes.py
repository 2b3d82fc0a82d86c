"""Boxes of regions (xyxy, as shares of the picture's width and height), and grids of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_TOLERANCE = 1e-3  # boxes may have been stored as float16
_SMALLEST_CELL = 1 / 512  # of the picture's side; below it the tolerance could not distinguish grids


def grid_boxes(rows: int, columns: int) -> Float[Tensor, "region 4"]:
    """Return the boxes of a grid that tiles the picture, row by row from the top left corner.

    Args:
        rows: Cells from top to bottom.
        columns: Cells from left to right.

    Returns:
        float32 (rows · columns, 4), xyxy in 0..1; neighbours share their edges exactly.
    """
    x, y = torch.arange(columns + 1) / columns, torch.arange(rows + 1) / rows
    left, top = x[:-1].repeat(rows), y[:-1].repeat_interleave(columns)
    right, bottom = x[1:].repeat(rows), y[1:].repeat_interleave(columns)
    return torch.stack([left, top, right, bottom], dim=1)


@dataclass(frozen=True)
class Grid:
    """Consecutive regions that tile the picture, row by row from the top left corner.

    Attributes:
        start: Index of the first region.
        rows: Cells from top to bottom.
        columns: Cells from left to right.
    """

    start: int
    rows: int
    columns: int

    @property
    def stop(self) -> int:
        """The index after the last region."""
        return self.start + self.rows * self.columns


def find_grids(boxes: Float[Tensor, "region 4"] | Float[np.ndarray, "region 4"]) -> list[Grid]:
    """Return the grids that a picture's regions form: one, or several at different scales.

    Args:
        boxes: xyxy in 0..1, of all the picture's regions in their order.

    Returns:
        Grids that follow each other and together hold every region once; empty when the regions are
        anything else (a detector's boxes, no regions at all).
    """
    given = np.asarray(boxes, dtype=np.float64)
    grids: list[Grid] = []
    start = 0
    while start < len(given):
        width, height = given[start, 2:] - given[start, :2]
        if not (_SMALLEST_CELL <= width <= 1 + _TOLERANCE and _SMALLEST_CELL <= height <= 1 + _TOLERANCE):
            return []
        grid = Grid(start, round(1 / height), round(1 / width))
        if grid.stop > len(given):
            return []
        if not np.allclose(given[start : grid.stop], grid_boxes(grid.rows, grid.columns), rtol=0, atol=_TOLERANCE):
            return []
        grids.append(grid)
        start = grid.stop
    return grids
