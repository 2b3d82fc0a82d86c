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
_BETWEEN = 0.22  # inches between panels
_LINE = 0.2  # inches a line above a panel takes
_ROOMY, _LEAST = 2.2, 1.3  # inches: from where word and place share a line; the narrowest place for a word
_TALLEST = 3.4
TOP = 16.0  # times an even spread, where every figure's scale ends: one scale, so flat attention looks flat


@dataclass(frozen=True)
class PanelPlan:
    """How panels are laid out.

    Attributes:
        rows: Tokens that get a panel, in the sentence's order.
        left_out: Content words that get none.
        columns: Panels beside each other.
        slot: Inches across for a panel with its words.
        width: Of a panel's picture, in inches.
        height: Of a panel's picture, in inches.
    """

    rows: list[int]
    left_out: int
    columns: int
    slot: float
    width: float
    height: float

    @property
    def head(self) -> float:
        """Inches above a picture: one line where word and place fit on it, else two."""
        return (1 if self.slot > _ROOMY else 2) * _LINE + 0.12

    @property
    def total_height(self) -> float:
        """Inches that all panels take downwards."""
        return math.ceil(len(self.rows) / max(1, self.columns)) * (self.head + self.height + _BETWEEN)


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
    columns = _columns(len(rows), aspect, room)
    slot = (room - _BETWEEN * (columns - 1)) / columns
    height = min(slot / aspect, _TALLEST)
    return PanelPlan(rows, len(content) - len(rows), columns, slot, min(slot, height * aspect), height)


def _columns(count: int, aspect: float, room: float) -> int:
    """Return how many panels stand beside each other: of the numbers that suit the aspect the one with least blank."""
    if aspect > 2.4:
        return 1 if aspect > 5 else 2
    if aspect > 0.6:
        suiting = [columns for columns in range(3, 6) if (room + _BETWEEN) / columns > _LEAST] or [2]
    else:
        widest = int((room + _BETWEEN) / (max(_LEAST, _TALLEST * aspect) + _BETWEEN))
        suiting = range(max(2, widest - 2), widest + 1)
    return min(suiting, key=lambda columns: (-count % columns, abs(columns - 4)))


def draw_panels(sheet: Sheet, alignment: Alignment, picture: ShownPicture, plan: PanelPlan, x: float, y: float) -> None:
    """Draw the planned panels downwards from (x, y)."""
    for number, row in enumerate(plan.rows):
        left = x + number % plan.columns * (plan.slot + _BETWEEN)
        upper = y + number // plan.columns * (plan.head + plan.height + _BETWEEN)
        _draw_words(sheet, alignment, plan, row, left, upper)
        draw_word(sheet, alignment, picture, row, (left, upper + plan.head, plan.width, plan.height))


def _draw_words(sheet: Sheet, alignment: Alignment, plan: PanelPlan, row: int, left: float, upper: float) -> None:
    token, found = alignment.tokens[row], strongest_region(alignment, row)
    told, faint = f"{found.place}, {percent(found.share)}", sheet.theme.faint
    room = plan.slot
    if plan.slot > _ROOMY:
        room -= 0.1 + sheet.width_of(told, 9.5)
        sheet.write(left + plan.slot, upper + _LINE, told, 9.5, color=faint, align="right")
    else:
        sheet.write(left, upper + 2 * _LINE, told, 9.5, color=faint, room=plan.slot)
    label = token.text if token.known else f"? {token.text}"
    sheet.write(left, upper + _LINE, label, 11, weight="bold", room=max(0.3, room))


def draw_word(
    sheet: Sheet,
    alignment: Alignment,
    picture: ShownPicture,
    row: int,
    place: tuple[float, float, float, float],
) -> None:
    """Draw one word's weights over the picture: a map for grids, the strongest boxes' outlines else.

    Args:
        sheet: To draw on.
        alignment: With boxes.
        picture: Of the pair.
        row: The token.
        place: Left, top, width and height in inches.
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
        axes.imshow(overlaid(pixels, density, TOP, sheet.theme), extent=extent, aspect="auto")
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


def draw_scale(sheet: Sheet, x: float, y: float) -> None:
    """Draw the colour scale of the maps, its right end at `x`, its middle at `y`."""
    from matplotlib import colormaps

    width, height = 2.6, 0.13
    x -= 0.18  # the last number is centred under its place, and ends at the edge
    axes = sheet.axes(x - width, y - height / 2, width, height)
    shades = np.linspace(0, 1, 256)
    grey = np.full(3, 0.5) * sheet.theme.dimmed
    cover = cover_of(shades)[:, None]
    axes.imshow(((1 - cover) * grey + cover * colormaps["viridis"](0.25 + 0.75 * shades)[:, :3])[None], aspect="auto")
    steps = round(math.log2(TOP))
    for step in range(steps + 1):
        place = x - width + width * step / steps
        sheet.write(
            place,
            y + 0.23,
            f"{2**step}×" if step < steps else f"≥{2**step}×",
            8.5,
            color=sheet.theme.faint,
            align="center",
        )
    told = "attention, times an even spread"
    sheet.write(x - width - 0.12, y + 0.04, told, 9.5, color=sheet.theme.faint, align="right")
