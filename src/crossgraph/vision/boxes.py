"""Boxes of regions: xyxy, as shares of the picture's width and height."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


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
