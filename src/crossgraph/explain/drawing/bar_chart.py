"""Draws how much each token, and the global node, counted in a score: as horizontal bars."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossgraph.explain.description import GLOBAL_NODE, has_global_node, percent
from crossgraph.explain.drawing.canvas import Canvas
from crossgraph.explain.drawing.theme import Theme
from crossgraph.pipeline import AlignedToken, Alignment

BAR_HEIGHT = 0.235  # inches
MAX_BARS = 90
_LABEL, _VALUE, _GAP = 1.25, 0.62, 0.3  # inches: at most for a label, for a value, between columns


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: Text beside it.
        share: Its length.
        color: Fill colour.
        hatch: Fill pattern, so that kinds differ by more than colour.
        strong: Whether its label stands out.
        unknown: Whether the vocabulary lacks the word; its label is followed by a question mark.
    """

    label: str
    share: float
    color: str
    hatch: str
    strong: bool
    unknown: bool = False


def strongest_tokens(significance: Float[np.ndarray, " word"], most: int = MAX_BARS) -> list[int]:
    """Return the `most` tokens that counted most, in the order of the sentence."""
    order: list[int] = np.argsort(-significance, kind="stable")[:most].tolist()
    return sorted(order)


def token_bars(alignment: Alignment, rows: list[int], theme: Theme) -> list[Bar]:
    """Return the bars of some tokens, and behind them the global node's where there is one."""
    bars = [_bar(alignment.tokens[row], float(alignment.significance[row]), theme) for row in rows]
    if has_global_node(alignment):
        bars.append(Bar(GLOBAL_NODE, alignment.global_significance, theme.whole, "....", True))
    return bars


def column_count(bars: int, width: float) -> int:
    """Return in how many columns to draw bars: 18 bars a column, as far as the columns fit into `width` inches."""
    fitting = max(1, int((width + _GAP) / (_LABEL + _VALUE + 0.7 + _GAP)))
    return min(fitting, max(1, math.ceil(bars / 18)))


def chart_height(bars: int, columns: int) -> float:
    """Return the height of a chart in inches."""
    return math.ceil(bars / columns) * BAR_HEIGHT


def nearly_equal(bars: list[Bar]) -> bool:
    """Return whether the shares are so alike that they say nothing about single words."""
    shares = [bar.share for bar in bars]
    return max(shares) < 1.1 * min(shares)


def draw_legend(canvas: Canvas, x: float, y: float, width: float, *, unknown: bool, global_node: bool) -> float:
    """Draw what the bars' colours mean, in as many lines as `width` asks for; return the last line's baseline."""
    theme = canvas.theme
    keys = [("content word", theme.content, ""), ("other token", theme.other, "")]
    keys += [("? unknown word, read as <unk>", theme.unknown, "////")] if unknown else []
    keys += [("global node: whole picture with whole sentence", theme.whole, "....")] if global_node else []
    left = x
    for label, color, hatch in keys:
        needed = 0.2 + canvas.text_width(label, 9) + 0.22
        if left > x and left + needed - 0.22 > x + width:
            left, y = x, y + 0.2
        patch = canvas.add_axes(left, y - 0.11, 0.13, 0.13)
        patch.axhspan(0, 1, facecolor=color, hatch=hatch, edgecolor=theme.paper, linewidth=0)
        canvas.write(left + 0.2, y, label, 9, color=theme.faint)
        left += needed
    return y


def draw_bars(
    canvas: Canvas, bars: list[Bar], x: float, y: float, width: float, columns: int, longest: float, even: float
) -> None:
    """Draw bars downwards from (x, y), column by column.

    Args:
        canvas: To draw on.
        bars: At least one.
        x: Left edge, in inches.
        y: Top edge, in inches.
        width: Of all columns, in inches.
        columns: Of bars.
        longest: The share of a bar of full length.
        even: The share that each would have if all counted alike; marked by a dashed line.
    """
    rows = math.ceil(len(bars) / columns)
    column_width = (width - _GAP * (columns - 1)) / columns
    longest = max(longest, 1e-9)
    label_width = min(_LABEL, 0.12 + max(canvas.text_width(f"{bar.label} ?", 10) for bar in bars))
    bar_width = column_width - label_width - _VALUE
    for column, first in enumerate(range(0, len(bars), rows)):
        column_bars = bars[first : first + rows]
        left = x + column * (column_width + _GAP)
        start = left + label_width
        axes = canvas.add_axes(start, y, bar_width, len(column_bars) * BAR_HEIGHT)
        axes.set_xlim(0, longest)
        axes.set_ylim(len(column_bars), 0)
        for row, bar in enumerate(column_bars):
            share, edge = max(0.0, bar.share), canvas.theme.paper
            axes.barh(row + 0.5, share, height=0.66, color=bar.color, hatch=bar.hatch, edgecolor=edge)
            base = y + (row + 0.5) * BAR_HEIGHT + 0.05
            ink = canvas.theme.ink if bar.strong else canvas.theme.faint
            end = label_width - 0.08
            if bar.unknown:
                end -= 0.06 + canvas.write(start - 0.08, base, "?", 10, weight="bold", align="right")
            canvas.write(left + end, base, bar.label, 10, color=ink, align="right", max_width=end)
            tip = start + bar_width * min(1.0, share / longest)
            canvas.write(tip + 0.06, base, percent(bar.share), 9.5, color=ink, cover=True)
        if even < longest:
            axes.axvline(even, color=canvas.theme.ink, linewidth=0.9, linestyle=(0, (2, 2)), alpha=0.75)


def _bar(token: AlignedToken, share: float, theme: Theme) -> Bar:
    if not token.known:
        return Bar(token.text, share, theme.unknown, "////", True, unknown=True)
    return Bar(token.text, share, theme.content if token.content else theme.other, "", token.content)
