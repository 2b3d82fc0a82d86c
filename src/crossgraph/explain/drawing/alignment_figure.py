"""Draws one pair explained: the picture, how much each word counted, and where each content word looked."""

from __future__ import annotations

from pathlib import Path

from crossgraph.explain.description import has_global_node, score_meaning, significance_meaning
from crossgraph.explain.drawing.bar_chart import (
    chart_height,
    column_count,
    draw_bars,
    draw_legend,
    nearly_equal,
    strongest_tokens,
    token_bars,
)
from crossgraph.explain.drawing.canvas import DOTS, WIDTH, Canvas
from crossgraph.explain.drawing.picture import Picture, read_picture
from crossgraph.explain.drawing.theme import THEMES, ThemeName
from crossgraph.explain.drawing.word_maps import OUTLINED, draw_color_scale, draw_maps, plan_maps
from crossgraph.pipeline import Alignment
from crossgraph.vision.boxes import find_grids

_MARGIN = 0.45
_WIDTH = WIDTH - 2 * _MARGIN


def draw_explanation(alignment: Alignment, out: Path, theme: ThemeName = "light") -> None:
    """Draw why a pair scored as it did.

    Args:
        alignment: Of the pair; without boxes the words' maps are left out, and the figure says so.
        out: .png (1,800 pixels wide, made to be read at 1,200), .svg or .pdf.
        theme: For a light or a dark page.

    Raises:
        InputError: Matplotlib is missing, the picture cannot be read, or the file cannot be written.
    """
    picture = None if alignment.picture is None else read_picture(alignment.picture)
    canvas = Canvas(THEMES[theme], [alignment.sentence, alignment.run])
    y = _draw_head(canvas, alignment)
    y = _draw_picture_and_bars(canvas, alignment, picture, y)
    y = _draw_words(canvas, alignment, picture, y)
    canvas.save(out, y + 0.1)


def _draw_head(canvas: Canvas, alignment: Alignment) -> float:
    size = 13 if canvas.text_width(alignment.sentence, 17, "bold") > 2 * _WIDTH else 17
    y = canvas.paragraph(_MARGIN, 0.62, alignment.sentence, _WIDTH, size, weight="bold", max_lines=5) + 0.46
    used = canvas.write(_MARGIN, y, f"score {alignment.score:.2f}", 14, weight="bold") + 0.2
    about = f"{alignment.run} ({alignment.model.upper()}). {score_meaning(alignment.model)}"
    faint = canvas.theme.faint
    return canvas.paragraph(_MARGIN + used, y - 0.02, about, _WIDTH - used, 10.5, color=faint) + 0.28


def _draw_picture_and_bars(canvas: Canvas, alignment: Alignment, picture: Picture | None, y: float) -> float:
    """Draw the bars right of the picture, or below a wide one."""
    if picture is None:
        return _draw_bars(canvas, alignment, _MARGIN, y) + 0.3
    beside = picture.aspect <= 2.2
    width = min(4.4, 4.4 * picture.aspect) if beside else _WIDTH
    height = width / picture.aspect
    pixels = picture.resized(round(width * DOTS), round(height * DOTS))
    canvas.add_image(pixels, (_MARGIN, y, width, height))
    if beside:
        return max(_draw_bars(canvas, alignment, _MARGIN + width + 0.4, y), y + height) + 0.3
    return _draw_bars(canvas, alignment, _MARGIN, y + height + 0.2) + 0.3


def _draw_bars(canvas: Canvas, alignment: Alignment, x: float, y: float) -> float:
    canvas.write(x, y + 0.16, "How much each word counted", 12.5, weight="bold")
    width = WIDTH - _MARGIN - x
    tokens, shown = len(alignment.tokens), strongest_tokens(alignment.significance)
    bars = token_bars(alignment, shown, canvas.theme)
    about = f"{significance_meaning(alignment)}. All sum to 100 %; the dashed line is an even share."
    if nearly_equal(bars):
        about += " They hardly differ: this model weighs the sentence's words nearly alike."
    if len(shown) < tokens:
        about += f" The {tokens - len(shown)} tokens that counted least are left out of {tokens}."
    y = canvas.paragraph(x, y + 0.4, about, width, 10, color=canvas.theme.faint) + 0.12
    columns, global_node = column_count(len(bars), width), has_global_node(alignment)
    draw_bars(canvas, bars, x, y, width, columns, max(bar.share for bar in bars), 1 / (tokens + global_node))
    y += chart_height(len(bars), columns) + 0.24
    return draw_legend(canvas, x, y, width, unknown=bool(alignment.unknown), global_node=global_node)


def _draw_words(canvas: Canvas, alignment: Alignment, picture: Picture | None, y: float) -> float:
    faint = canvas.theme.faint
    canvas.rule(y, _MARGIN, _WIDTH)
    y += 0.36
    canvas.write(_MARGIN, y, "Where each content word looked", 12.5, weight="bold")
    if alignment.boxes is None or picture is None or not alignment.content:
        why = (
            "The regions of these features have no boxes, so nothing can be laid over the picture (--boxes gives them)."
        )
        if alignment.boxes is not None:
            why = "No picture is at hand." if picture is None else "The sentence has no content word."
        return canvas.paragraph(_MARGIN, y + 0.26, why, _WIDTH, 10, color=faint) + 0.3
    layout = plan_maps(alignment, picture.aspect, _WIDTH)
    if find_grids(alignment.boxes):
        draw_color_scale(canvas, WIDTH - _MARGIN, y - 0.06)
        about = (
            "One scale for all words and figures. Beside a word: its strongest region, with its share of the attention."
        )
    else:
        about = f"Outlined: each word's {OUTLINED} strongest boxes, with their shares of its attention."
    if layout.left_out:
        about += f" Shown are the {len(layout.rows)} content words that counted most, of {len(alignment.content)}."
    y = canvas.paragraph(_MARGIN, y + 0.32, about, _WIDTH - 3.1, 10, color=faint) + 0.08
    draw_maps(canvas, alignment, picture, layout, _MARGIN, y)
    return y + layout.total_height
