"""How much each word counted in a score, as bars: every token, and the global node."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossgraph.explain.sheet import Sheet
from crossgraph.explain.theme import Theme
from crossgraph.explain.wording import GLOBAL_NODE, has_global_node, percent
from crossgraph.pipeline import AlignedToken, Alignment

ROW = 0.235  # inches a bar takes
MOST = 90
_LABEL, _VALUE, _BETWEEN = 1.25, 0.62, 0.3  # inches: most for a label, for a value, between columns


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: Beside it.
        share: Its length.
        color: Of it.
        hatch: Pattern, so that colour alone tells nothing.
        strong: Whether its label is read first.
        unknown: Whether the vocabulary lacks the word; its label is followed by a question mark.
    """

    label: str
    share: float
    color: str
    hatch: str
    strong: bool
    unknown: bool = False


def strongest_tokens(significance: Float[np.ndarray, " word"], most: int = MOST) -> list[int]:
    """Return the tokens that get a bar: all, or of more than `most` those that counted most; in their order."""
    order: list[int] = np.argsort(-significance, kind="stable")[:most].tolist()
    return sorted(order)


def bars_of(alignment: Alignment, rows: list[int], theme: Theme) -> list[Bar]:
    """Return the bars of some tokens, and the global node's behind them where there is one."""
    bars = [_bar(alignment.tokens[row], float(alignment.significance[row]), theme) for row in rows]
    if not has_global_node(alignment):
        return bars
    return [*bars, Bar(GLOBAL_NODE, alignment.global_significance, theme.whole, "....", True)]


def columns_for(count: int, room: float) -> int:
    """Return in how many columns so many bars stand best: 18 a column, as many columns as the room has."""
    fitting = max(1, int((room + _BETWEEN) / (_LABEL + _VALUE + 0.7 + _BETWEEN)))
    return min(fitting, max(1, math.ceil(count / 18)))


def bars_height(count: int, columns: int) -> float:
    """Return the inches that bars take downwards."""
    return math.ceil(count / columns) * ROW


def hardly_differ(bars: list[Bar]) -> bool:
    """Tell whether the shares are so alike that they say nothing about single words."""
    shares = [bar.share for bar in bars]
    return max(shares) < 1.1 * min(shares)


def draw_keys(sheet: Sheet, x: float, y: float, room: float, *, unknown: bool, overall: bool) -> float:
    """Say what the bars' colours mean, in as many lines as the room asks for; return the last one's baseline."""
    theme = sheet.theme
    keys = [("content word", theme.content, ""), ("other token", theme.other, "")]
    keys += [("? unknown word, read as <unk>", theme.unknown, "////")] if unknown else []
    keys += [("global node: whole picture with whole sentence", theme.whole, "....")] if overall else []
    at = x
    for label, color, hatch in keys:
        width = 0.2 + sheet.width_of(label, 9) + 0.22
        if at > x and at + width - 0.22 > x + room:
            at, y = x, y + 0.2
        box = sheet.axes(at, y - 0.11, 0.13, 0.13)
        box.axhspan(0, 1, facecolor=color, hatch=hatch, edgecolor=theme.paper, linewidth=0)
        sheet.write(at + 0.2, y, label, 9, color=theme.faint)
        at += width
    return y


def draw_bars(
    sheet: Sheet, bars: list[Bar], x: float, y: float, room: float, columns: int, longest: float, even: float
) -> None:
    """Draw bars downwards from (x, y), column by column.

    Args:
        sheet: To draw on.
        bars: At least one.
        x: Left edge, in inches.
        y: Top edge, in inches.
        room: Width, in inches.
        columns: Of bars.
        longest: The share whose bar takes all its room.
        even: The share each would have if all counted alike; marked by a line.
    """
    rows = math.ceil(len(bars) / columns)
    width = (room - _BETWEEN * (columns - 1)) / columns
    longest = max(longest, 1e-9)
    label = min(_LABEL, 0.12 + max(sheet.width_of(f"{bar.label} ?", 10) for bar in bars))
    for column in range(columns):
        some = bars[column * rows : (column + 1) * rows]
        if not some:
            continue
        left = x + column * (width + _BETWEEN)
        axes = sheet.axes(left + label, y, width - label - _VALUE, len(some) * ROW)
        axes.set_xlim(0, longest)
        axes.set_ylim(len(some), 0)
        for row, bar in enumerate(some):
            axes.barh(
                row + 0.5,
                max(0.0, bar.share),
                height=0.66,
                color=bar.color,
                hatch=bar.hatch,
                edgecolor=sheet.theme.paper,
            )
            base = y + (row + 0.5) * ROW + 0.05
            ink = sheet.theme.ink if bar.strong else sheet.theme.faint
            mark = 0.0
            if bar.unknown:
                mark = 0.06 + sheet.write(left + label - 0.08, base, "?", 10, weight="bold", align="right")
            room_left = label - 0.08 - mark
            sheet.write(left + room_left, base, bar.label, 10, color=ink, align="right", room=room_left)
            end = left + label + (width - label - _VALUE) * min(1.0, max(0.0, bar.share) / longest)
            sheet.write(end + 0.06, base, percent(bar.share), 9.5, color=ink, cover=True)
        if even < longest:
            axes.axvline(even, color=sheet.theme.ink, linewidth=0.9, linestyle=(0, (2, 2)), alpha=0.75)


def _bar(token: AlignedToken, share: float, theme: Theme) -> Bar:
    if not token.known:
        return Bar(token.text, share, theme.unknown, "////", True, unknown=True)
    return Bar(token.text, share, theme.content if token.content else theme.other, "", token.content)
