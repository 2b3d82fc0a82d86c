"""One pair explained on one sheet: the picture, how much each word counted, and where each content word looked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossgraph.explain.bars import (
    bars_height,
    bars_of,
    columns_for,
    draw_bars,
    draw_keys,
    hardly_differ,
    strongest_tokens,
)
from crossgraph.explain.panels import OUTLINED, draw_panels, draw_scale, plan_panels
from crossgraph.explain.sheet import DOTS, WIDTH, Sheet
from crossgraph.explain.shown import ShownPicture, read_shown
from crossgraph.explain.theme import THEMES, ThemeName
from crossgraph.explain.wording import has_global_node, score_meaning, significance_of
from crossgraph.pipeline import Alignment
from crossgraph.vision.boxes import find_grids

_EDGE = 0.45
_ROOM = WIDTH - 2 * _EDGE


def draw_explanation(alignment: Alignment, out: Path, theme: ThemeName = "light") -> None:
    """Draw why a pair scored as it did.

    Args:
        alignment: Of the pair; without boxes the words' maps are left out, which the sheet says.
        out: .png (1,800 pixels wide, made to be read at 1,200), .svg or .pdf.
        theme: For a light or a dark page.

    Raises:
        InputError: Matplotlib is missing, the picture cannot be read, or the place cannot be written.
    """
    picture = None if alignment.picture is None else read_shown(alignment.picture)
    sheet = Sheet(THEMES[theme], [alignment.sentence, alignment.run])
    y = _draw_head(sheet, alignment)
    y = _draw_picture_and_bars(sheet, alignment, picture, y)
    y = _draw_words(sheet, alignment, picture, y)
    sheet.save(out, y + 0.1)


def _draw_head(sheet: Sheet, alignment: Alignment) -> float:
    faint = sheet.theme.faint
    long = sheet.width_of(sheet.lettering.clean(alignment.sentence), 17, "bold") > 2 * _ROOM
    y = sheet.paragraph(_EDGE, 0.62, alignment.sentence, _ROOM, 13 if long else 17, weight="bold", most=5) + 0.46
    taken = sheet.write(_EDGE, y, f"score {alignment.score:.2f}", 14, weight="bold")
    told = f"{alignment.run} ({alignment.model.upper()}). {score_meaning(alignment.model)}"
    return sheet.paragraph(_EDGE + taken + 0.2, y - 0.02, told, _ROOM - taken - 0.2, 10.5, color=faint) + 0.28


@dataclass(frozen=True)
class _Layout:
    """Where picture and bars stand: beside each other, or a wide picture above."""

    width: float
    height: float
    beside: bool


def _layout(picture: ShownPicture | None) -> _Layout:
    if picture is None:
        return _Layout(0.0, 0.0, False)
    if picture.aspect > 2.2:
        return _Layout(_ROOM, _ROOM / picture.aspect, False)
    width = min(4.4, 4.4 * picture.aspect)
    return _Layout(width, width / picture.aspect, True)


def _draw_picture_and_bars(sheet: Sheet, alignment: Alignment, picture: ShownPicture | None, y: float) -> float:
    layout = _layout(picture)
    if picture is not None:
        axes = sheet.axes(_EDGE, y, layout.width, layout.height)
        pixels = picture.resized(round(layout.width * DOTS), round(layout.height * DOTS))
        axes.imshow(pixels, extent=(0, 1, 0, 1), aspect="auto")
    x = _EDGE + layout.width + 0.4 if layout.beside else _EDGE
    room = WIDTH - _EDGE - x
    below = y if layout.beside or picture is None else y + layout.height + 0.2
    base = _draw_bars(sheet, alignment, x, below, room)
    return max(base, y + layout.height if layout.beside else 0) + 0.3


def _draw_bars(sheet: Sheet, alignment: Alignment, x: float, y: float, room: float) -> float:
    theme = sheet.theme
    sheet.write(x, y + 0.16, "How much each word counted", 12.5, weight="bold")
    rows = strongest_tokens(alignment.significance)
    bars = bars_of(alignment, rows, theme)
    left_out = len(alignment.tokens) - len(rows)
    even = 1 / (len(alignment.tokens) + has_global_node(alignment))
    said = f"{significance_of(alignment)}. All sum to 100 %; the dashed line is an even share."
    if hardly_differ(bars):
        said += " They hardly differ: this model weighs the sentence's words nearly alike."
    if left_out:
        said += f" The {left_out} tokens that counted least are left out of {len(alignment.tokens)}."
    base = sheet.paragraph(x, y + 0.4, said, room, 10, color=theme.faint) + 0.12
    columns = columns_for(len(bars), room)
    draw_bars(sheet, bars, x, base, room, columns, max(bar.share for bar in bars), even)
    base += bars_height(len(bars), columns) + 0.24
    return draw_keys(sheet, x, base, room, unknown=bool(alignment.unknown), overall=has_global_node(alignment))


def _draw_words(sheet: Sheet, alignment: Alignment, picture: ShownPicture | None, y: float) -> float:
    theme = sheet.theme
    sheet.rule(y, _EDGE, _ROOM)
    y += 0.36
    sheet.write(_EDGE, y, "Where each content word looked", 12.5, weight="bold")
    if alignment.boxes is None or picture is None or not alignment.content:
        why = (
            "The regions of these features have no boxes, so nothing can be laid over the picture (--boxes gives them)."
        )
        if alignment.boxes is not None:
            why = "No picture is at hand." if picture is None else "The sentence has no content word."
        return sheet.paragraph(_EDGE, y + 0.26, why, _ROOM, 10, color=theme.faint) + 0.3
    plan = plan_panels(alignment, picture.aspect, _ROOM)
    if find_grids(alignment.boxes):
        draw_scale(sheet, WIDTH - _EDGE, y - 0.06)
        said = (
            "One scale for all words and figures. Beside a word: its strongest region, with its share of the attention."
        )
    else:
        said = f"Outlined: each word's {OUTLINED} strongest boxes, with their shares of its attention."
    if plan.left_out:
        said += f" Shown are the {len(plan.rows)} content words that counted most, of {len(alignment.content)}."
    y = sheet.paragraph(_EDGE, y + 0.32, said, _ROOM - 3.1, 10, color=theme.faint) + 0.08
    draw_panels(sheet, alignment, picture, plan, _EDGE, y)
    return y + plan.total_height
