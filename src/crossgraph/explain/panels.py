"""Where each content word looked: one small picture a word, its region weights laid over it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossgraph.explain.heat import density_map
from crossgraph.explain.sheet import DOTS, Sheet
from crossgraph.explain.shown import ShownPicture, cover_of, overlaid
from crossgraph.explain.wording import percent, strongest_region
from crossgraph.pipeline import Alignment
from crossgraph.vision.boxes import find_grids

MOST = 12
OUTLINED = 3  # boxes of a word
_HEAD, _BETWEEN = 0.34, 0.22  # inches: above a panel for its word, between panels
_LEAST_TOP = 8.0  # times an even spread: a scale that ends lower would make flat attention look sharp


@dataclass(frozen=True)
class PanelPlan:
    """How panels are laid out.

    Attributes:
        rows: Tokens that get a panel, in the sentence's order.
        left_out: Content words that get none.
        columns: Panels beside each other.
        width: Of a panel's picture, in inches.
        height: Of a panel's picture, in inches.
    """

    rows: list[int]
    left_out: int
    columns: int
    width: float
    height: float

    @property
    def total_height(self) -> float:
        """Inches that all panels take downwards."""
        return math.ceil(len(self.rows) / max(1, self.columns)) * (_HEAD + self.height + _BETWEEN)


def plan_panels(alignment: Alignment, aspect: float, room: float, most: int = MOST) -> PanelPlan:
    """Choose the words that get a panel, and the panels' size: by the picture's proportions, to be recognisable.

    Args:
        alignment: Of the pair.
        aspect: Of the picture, width by height.
        room: Width for all, in inches.
        most: Panels; of more content words those that counted most.
    """
    content = alignment.content
    rows = sorted(sorted(content, key=lambda row: -alignment.significance[row])[:most])
    columns = _columns(len(rows), aspect)
    width = (room - _BETWEEN * (columns - 1)) / columns
    height = min(width / aspect, 3.4)
    return PanelPlan(rows, len(content) - len(rows), columns, min(width, height * aspect), height)


def _columns(count: int, aspect: float) -> int:
    """Return how many panels stand beside each other: of the numbers that suit the aspect the one with least blank."""
    suiting = (
        range(1, 2) if aspect > 5 else range(2, 3) if aspect > 2.4 else range(3, 6) if aspect > 0.6 else range(6, 9)
    )
    return min(suiting, key=lambda columns: (-count % columns, abs(columns - 4)))


def scale_top(alignments: list[tuple[Alignment, list[int]]]) -> float:
    """Return the density at which the figures' scale ends: the same for all words shown, a power of two.

    Args:
        alignments: With the tokens of each that are shown.
    """
    densest = [
        float(density_map(alignment.weights[row], alignment.boxes, 56, 56).max())
        for alignment, rows in alignments
        if alignment.boxes is not None
        for row in rows
    ]
    return 2.0 ** math.ceil(math.log2(max([_LEAST_TOP, *densest])))


def draw_panels(
    sheet: Sheet, alignment: Alignment, picture: ShownPicture, plan: PanelPlan, x: float, y: float, top: float
) -> None:
    """Draw the planned panels downwards from (x, y); `top` ends the scale, see `scale_top`."""
    step = (plan.width + _BETWEEN, _HEAD + plan.height + _BETWEEN)
    for number, row in enumerate(plan.rows):
        left, upper = x + number % plan.columns * step[0], y + number // plan.columns * step[1]
        found = strongest_region(alignment, row)
        token, peak = alignment.tokens[row], percent(found.share)
        label = token.text if token.known else f"? {token.text}"
        told = f"{found.place}, {peak}" if plan.width > 1.9 else peak
        taken = sheet.width_of(told, 9.5)
        sheet.write(left, upper + 0.22, label, 11, weight="bold", room=max(0.3, plan.width - taken - 0.1))
        sheet.write(left + plan.width, upper + 0.22, told, 9.5, color=sheet.theme.faint, align="right")
        draw_word(sheet, alignment, picture, row, (left, upper + _HEAD, plan.width, plan.height), top)


def draw_word(
    sheet: Sheet,
    alignment: Alignment,
    picture: ShownPicture,
    row: int,
    place: tuple[float, float, float, float],
    top: float,
) -> None:
    """Draw one word's weights over the picture: a map for grids, the strongest boxes' outlines else.

    Args:
        sheet: To draw on.
        alignment: With boxes.
        picture: Of the pair.
        row: The token.
        place: Left, top, width and height in inches.
        top: Where the scale ends.
    """
    assert alignment.boxes is not None
    axes = sheet.axes(*place)
    pixels = picture.resized(round(place[2] * DOTS), round(place[3] * DOTS))
    height, width = pixels.shape[:2]
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    extent = (0, 1, 1, 0)
    if find_grids(alignment.boxes):
        density = density_map(alignment.weights[row], alignment.boxes, height, width)
        axes.imshow(overlaid(pixels, density, top, sheet.theme), extent=extent, aspect="auto")
        return
    dimmed = 0.5 * pixels / 255 + 0.5 * sheet.theme.dimmed * pixels.mean(axis=2, keepdims=True) / 255
    axes.imshow(dimmed, extent=extent, aspect="auto")
    _outline(sheet, alignment, row, axes, place)


def _outline(sheet: Sheet, alignment: Alignment, row: int, axes: Any, place: tuple[float, float, float, float]) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    assert alignment.boxes is not None
    weights = alignment.weights[row]
    strongest: list[int] = np.argsort(-weights, kind="stable")[:OUTLINED].tolist()
    taken: list[tuple[float, float]] = []
    for rank, region in reversed(list(enumerate(strongest))):
        left, upper, right, lower = (float(value) for value in alignment.boxes[region])
        line = (3.0, 1.9, 1.2)[rank]
        halo = [withStroke(linewidth=line + 1.6, foreground="black")]
        axes.add_patch(
            Rectangle(
                (left, upper), right - left, lower - upper, fill=False, edgecolor=_BOX[rank], linewidth=line,
                path_effects=halo, linestyle="-" if rank == 0 else (0, (4, 1.5)),
            )
        )  # fmt: skip
        at = (min(left, 1 - 0.42 / place[2]), min(max(upper, 0.0), 1 - 0.2 / place[3]))
        while any(abs(at[0] - x) < 0.42 / place[2] and abs(at[1] - y) < 0.17 / place[3] for x, y in taken):
            at = (at[0], at[1] + 0.17 / place[3])
        taken.append(at)
        axes.text(
            at[0] + 0.05 / place[2], at[1] + 0.15 / place[3], percent(float(weights[region])), fontsize=9,
            color="black", bbox={"facecolor": _BOX[rank], "edgecolor": "none", "pad": 1.2},
        )  # fmt: skip


_BOX = ("#F0E442", "#56B4E9", "#ffffff")  # strongest, second, third: told apart by width and dashes as well


def draw_scale(sheet: Sheet, x: float, y: float, top: float) -> None:
    """Draw the colour scale of the maps, its right end at `x`, its middle at `y`."""
    from matplotlib import colormaps

    width, height = 2.6, 0.13
    axes = sheet.axes(x - width, y - height / 2, width, height)
    shades = np.linspace(0, 1, 256)
    grey = np.full(3, 0.5) * sheet.theme.dimmed
    cover = cover_of(shades)[:, None]
    axes.imshow(((1 - cover) * grey + cover * colormaps["viridis"](0.25 + 0.75 * shades)[:, :3])[None], aspect="auto")
    steps = round(math.log2(top))
    for step in range(0, steps + 1, max(1, math.ceil(steps / 5))):
        place = x - width + width * step / steps
        align = "left" if step == 0 else "right" if step == steps else "center"
        sheet.write(place, y + 0.23, f"{2**step}×", 8.5, color=sheet.theme.faint, align=align)
    told = "attention, times an even spread"
    sheet.write(x - width - 0.12, y + 0.04, told, 9.5, color=sheet.theme.faint, align="right")
