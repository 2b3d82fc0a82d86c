"""Positions of regions as blocks of a grid over the picture, the input of PFAN.

The picture is cut into grid × grid blocks, numbered row by row from the top left corner. A region is described by a
fixed number of blocks, those it covers most, and by their shares of the covered area.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

GRID, BLOCKS = 16, 15  # as PFAN publishes them
_TIE = 1e-4  # of a block: covered shares that differ by less are equal, and the block nearer to the middle wins


def blocks_of_boxes(
    boxes: Float[Tensor, "n region 4"], grid: int = GRID, blocks: int = BLOCKS
) -> tuple[Int[Tensor, "n region block"], Float[Tensor, "n region block"]]:
    """Return the blocks that boxes cover most, and their shares of the covered area.

    A large box covers more whole blocks than are kept. Then those nearest to its middle are kept: our choice, since
    the authors publish positions and not how they were made.

    Args:
        boxes: xyxy in 0..1; parts outside the picture are not counted.
        grid: Blocks a side.
        blocks: Number of blocks kept for a region.

    Returns:
        Indices of the blocks, the most covered first, grid² where there are no more; and the area shared with each,
        as a share of that with all of them, which sums to 1, or to 0 for a box without area.
    """
    lines = torch.arange(grid + 1, device=boxes.device, dtype=boxes.dtype) / grid
    covered_x, off_x = _along(boxes[..., 0], boxes[..., 2], lines)
    covered_y, off_y = _along(boxes[..., 1], boxes[..., 3], lines)
    covered = (covered_y[..., :, None] * covered_x[..., None, :]).flatten(-2)
    off = (off_y[..., :, None] + off_x[..., None, :]).flatten(-2)
    order = (covered / _TIE).round() - off / (4 * grid * grid)  # the second stays below 1
    kept = min(blocks, grid * grid)
    chosen = order.topk(kept, dim=-1).indices
    shares = covered.gather(-1, chosen)
    index = chosen.masked_fill(shares <= 0, grid * grid)
    shares = shares / shares.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(shares.dtype).tiny)
    missing = blocks - kept
    index = torch.nn.functional.pad(index, (0, missing), value=grid * grid)
    return index, torch.nn.functional.pad(shares, (0, missing))


def _along(low: Tensor, high: Tensor, lines: Tensor) -> tuple[Tensor, Tensor]:
    """Return each strip's covered share and its squared distance from the middle, in strips."""
    start, stop = lines[:-1], lines[1:]
    shared = torch.minimum(high[..., None], stop) - torch.maximum(low[..., None], start)
    width = 1 / len(start)
    middle = (low + high)[..., None] / 2
    return (shared / width).clamp(0, 1), (((start + stop) / 2 - middle) / width).clamp(-len(start), len(start)) ** 2
