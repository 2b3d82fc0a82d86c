"""Draws where each content word looked: one small picture a word, its region weights laid over it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossgraph.explain.description import percent, strongest_region
from crossgraph.explain.drawing.canvas import DOTS, Canvas, Frame
from crossgraph.explain.drawing.heatmap import density_map
from crossgraph.explain.drawing.picture import Picture, overlay_density, overlay_shade
from crossgraph.pipeline import Alignment
from crossgraph.vision.boxes import find_grids

MAX_MAPS = 12
OUTLINED = 3  # boxes of a word
_GAP = 0.22  # inches between maps
_LINE = 0.2  # inches of a line of text above a map
_WIDE, _LEAST = 2.2, 1.3  # inches: from where word and position share a line; the least width for a word
_TALLEST = 3.4
TOP = 16.0  # times an even spread, where every figure's scale ends: one scale, so flat attention looks flat
_OUTLINES = ("#F0E442", "#56B4E9", "#ffffff")  # strongest, second, third: they differ in width and dashes as well


@dataclass(frozen=True)
class MapLayout:
    """The tokens that get a map, and the maps' sizes.

    Attributes:
        rows: Tokens that get a map, in the sentence's order.
        left_out: Content words that get none.
        columns: Maps beside each other.
        slot: Inches across for a map with its words.
        width: Of a map, in inches.
        height: Of a map, in inches.
    """

    rows: list[int]
    left_out: int
    columns: int
    slot: float
    width: float
    height: float

    @property
    def head(self) -> float:
        """Return the inches above a map: one line where word and position fit on it, else two."""
        return (1 if self.slot > _WIDE else 2) * _LINE + 0.12

    @property
    def total_height(self) -> float:
        """Return the height of all maps in inches."""
        return math.ceil(len(self.rows) / max(1, self.columns)) * (self.head + self.height + _GAP)


def plan_maps(alignment: Alignment, aspect: float, width: float) -> MapLayout:
    """Choose the words that get a map, those that counted most, and the maps' size.

    Args:
        alignment: Of the pair.
        aspect: Of the picture, width by height.
        width: Of all maps, in inches.
    """
    content = alignment.content
    rows = sorted(sorted(content, key=lambda row: -alignment.significance[row])[:MAX_MAPS])
    columns = _columns(len(rows), aspect, width)
    slot = (width - _GAP * (columns - 1)) / columns
    height = min(slot / aspect, _TALLEST)
    return MapLayout(rows, len(content) - len(rows), columns, slot, min(slot, height * aspect), height)


def _columns(count: int, aspect: float, width: float) -> int:
    """Return how many maps to draw beside each other: of the numbers that suit the aspect the one with least blank."""
    if aspect > 2.4:
        return 1 if aspect > 5 else 2
    if aspect > 0.6:
        suiting = [columns for columns in range(3, 6) if (width + _GAP) / columns > _LEAST] or [2]
    else:
        widest = int((width + _GAP) / (max(_LEAST, _TALLEST * aspect) + _GAP))
        suiting = range(max(2, widest - 2), widest + 1)
    return min(suiting, key=lambda columns: (-count % columns, abs(columns - 4)))


def draw_maps(
    canvas: Canvas, alignment: Alignment, picture: Picture, layout: MapLayout, left: float, top: float
) -> None:
    """Draw all maps of a layout, each below its word and the position of the word's strongest region."""
    faint = canvas.theme.faint
    for number, row in enumerate(layout.rows):
        x = left + number % layout.columns * (layout.slot + _GAP)
        y = top + number // layout.columns * (layout.head + layout.height + _GAP)
        token, strongest = alignment.tokens[row], strongest_region(alignment, row)
        position = f"{strongest.position}, {percent(strongest.share)}"
        label_width = layout.slot
        if layout.slot > _WIDE:
            label_width -= 0.1 + canvas.text_width(position, 9.5)
            canvas.write(x + layout.slot, y + _LINE, position, 9.5, color=faint, align="right")
        else:
            canvas.write(x, y + 2 * _LINE, position, 9.5, color=faint, max_width=layout.slot)
        label = token.text if token.known else f"? {token.text}"
        canvas.write(x, y + _LINE, label, 11, weight="bold", max_width=max(0.3, label_width))
        draw_map(canvas, alignment, picture, row, (x, y + layout.head, layout.width, layout.height))


def draw_map(canvas: Canvas, alignment: Alignment, picture: Picture, row: int, frame: Frame) -> None:
    """Draw one word's weights over the picture: a heatmap for grids, outlines of the strongest boxes otherwise.

    Args:
        canvas: To draw on.
        alignment: With boxes.
        picture: Of the pair.
        row: The token.
        frame: Of the map.
    """
    assert alignment.boxes is not None
    pixels = picture.resized(round(frame[2] * DOTS), round(frame[3] * DOTS))
    if find_grids(alignment.boxes):
        density = density_map(alignment.weights[row], alignment.boxes, *pixels.shape[:2])
        canvas.add_image(overlay_density(pixels, density, TOP, canvas.theme), frame)
    else:
        dimmed = 0.5 * pixels / 255 + 0.5 * canvas.theme.dimmed * pixels.mean(axis=2, keepdims=True) / 255
        _outline_boxes(canvas.add_image(dimmed, frame), alignment.weights[row], alignment.boxes, frame[2], frame[3])


def _outline_boxes(axes: Any, weights: np.ndarray, boxes: np.ndarray, width: float, height: float) -> None:
    """Outline the strongest boxes, each labelled with its share, where no label covers another."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    strongest: list[int] = np.argsort(-weights, kind="stable")[:OUTLINED].tolist()
    labels: list[tuple[float, float]] = []
    for rank, region in reversed(list(enumerate(strongest))):
        left, upper, right, lower = (float(value) for value in boxes[region])
        line, color = (3.0, 1.9, 1.2)[rank], _OUTLINES[rank]
        halo = [withStroke(linewidth=line + 1.6, foreground="black")]
        dashes = "-" if rank == 0 else (0, (4, 1.5))
        outline = Rectangle((left, upper), right - left, lower - upper, fill=False, path_effects=halo)
        outline.set(edgecolor=color, linewidth=line, linestyle=dashes)
        axes.add_patch(outline)
        x, y = min(left, 1 - 0.42 / width), min(max(upper, 0.0), 1 - 0.2 / height)
        while any(abs(x - other_x) < 0.42 / width and abs(y - other_y) < 0.17 / height for other_x, other_y in labels):
            y += 0.17 / height
        labels.append((x, y))
        axes.text(
            x + 0.05 / width, y + 0.15 / height, percent(float(weights[region])), fontsize=9,
            color="black", bbox={"facecolor": color, "edgecolor": "none", "pad": 1.2},
        )  # fmt: skip


def draw_color_scale(canvas: Canvas, right: float, middle: float) -> None:
    """Draw the colour scale of the maps; its right end is at `right`, its vertical middle at `middle`."""
    width, height = 2.6, 0.13
    left = right - 0.18 - width  # the last number is centred below the scale's end, and ends at `right`
    colors = overlay_shade(np.full((256, 3), 0.5) * canvas.theme.dimmed, np.linspace(0, 1, 256))
    canvas.add_axes(left, middle - height / 2, width, height).imshow(colors[None], aspect="auto")
    faint = canvas.theme.faint
    steps = round(math.log2(TOP))
    for step in range(steps + 1):
        label = f"{2**step}×" if step < steps else f"≥{2**step}×"
        canvas.write(left + width * step / steps, middle + 0.23, label, 8.5, color=faint, align="center")
    canvas.write(left - 0.12, middle + 0.04, "attention, times an even spread", 9.5, color=faint, align="right")
