"""Draws the page's charts as inline SVG: lines, histograms, intervals; colours are classes of the page's style."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from crossgraph.report.score_histogram import Histogram

WIDTH, HEIGHT = 400, 230
COLOURS = 7  # classes c0 … c6 of the style
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 36
LEAST_SHARE = 1e-4  # of a bin, at the foot of the logarithmic axis


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: For the tooltip.
        colour: Number of its colour class.
        points: (x, y), by x.
        dots: Whether each point is marked.
        ring: x of the point with a ring, or None.
        dashed: Whether it is the line that others are compared with.
    """

    name: str
    colour: int
    points: Sequence[tuple[float, float]]
    dots: bool = False
    ring: float | None = None
    dashed: bool = False


def line_chart(lines: Sequence[Line], title: str, x_label: str) -> Markup:
    """Return a chart of lines over a common horizontal axis.

    Args:
        lines: At least one of them with a point.
        title: What a screen reader says.
        x_label: Under the axis.
    """
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    x_ticks, y_ticks = nice_ticks(0, max(xs) or 1, 4), nice_ticks(min(ys), max(ys), 4)
    x = _scale(0, max(*x_ticks, *xs), _LEFT, WIDTH - _RIGHT)
    y = _scale(min(y_ticks), max(y_ticks), HEIGHT - _BOTTOM, _TOP)
    drawn = [_grid([(y(tick), _number(tick)) for tick in y_ticks], [(x(tick), _number(tick)) for tick in x_ticks])]
    drawn += [_line(line, x, y) for line in lines if line.points]
    return _svg(title, drawn, x_label)


def histogram_chart(histogram: Histogram, title: str) -> Markup:
    """Return a chart of matched and unmatched pairs, each as shares of its own kind on a logarithmic axis."""
    edges = histogram.edges.tolist()
    x = _scale(edges[0], edges[-1], _LEFT, WIDTH - _RIGHT)
    y = _scale(math.log10(LEAST_SHARE), 0, HEIGHT - _BOTTOM, _TOP)
    ticks = [(y(power), f"{100 * 10.0**power:g} %") for power in range(round(math.log10(LEAST_SHARE)), 1)]
    x_ticks = [(x(tick), _number(tick)) for tick in nice_ticks(edges[0], edges[-1], 5) if edges[0] <= tick <= edges[-1]]
    drawn = [_grid(ticks, x_ticks)]
    for name, counts in (("unmatched", histogram.unmatched.tolist()), ("matched", histogram.matched.tolist())):
        if total := sum(counts):
            heights = [y(math.log10(max(count / total, LEAST_SHARE))) for count in counts]
            steps = [f"V{height:.1f}H{x(edge):.1f}" for height, edge in zip(heights, edges[1:], strict=True)]
            foot = HEIGHT - _BOTTOM
            path = f"M{x(edges[0]):.1f},{foot}{''.join(steps)}V{foot}Z"
            drawn.append(Markup('<path class="{}" d="{}"/>').format(name, path))
    return _svg(title, drawn, "score")


def interval_bar(value: float, low: float, high: float, most: float) -> Markup:
    """Return a figure drawn as a dot on its interval, on an axis from 0 to `most`."""
    x = _scale(0, most, 2, 98)
    return Markup(
        '<svg class="interval" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="axis" d="M0,4H100"/><path class="range" d="M{:.1f},4H{:.1f}"/>'
        '<path class="dot" d="M{:.1f},1V7"/></svg>'
    ).format(x(low), x(high), x(value))


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers that enclose low..high, in about so many steps of 1, 2 or 5."""
    span = high - low if high > low else abs(high) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = high - low or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _line(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> Markup:
    path = "L".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
    colour, dashed = line.colour % COLOURS, " dashed" if line.dashed else ""
    drawn = [
        Markup('<path class="line{} c{}" d="M{}"><title>{}</title></path>').format(dashed, colour, path, line.name)
    ]
    for a, b in line.points if line.dots else ():
        mark = Markup('<circle class="dot c{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}: {}</title></circle>')
        drawn.append(mark.format(colour, x(a), y(b), line.name, _number(b)))
        if a == line.ring:
            ring = Markup('<circle class="ring c{}" cx="{:.1f}" cy="{:.1f}" r="6.5"/>')
            drawn.append(ring.format(colour, x(a), y(b)))
    return Markup("").join(drawn)


def _grid(rows: Sequence[tuple[float, str]], columns: Sequence[tuple[float, str]]) -> Markup:
    drawn: list[Markup] = []
    for y, label in rows:
        drawn.append(Markup('<path class="grid" d="M{},{:.1f}H{}"/>').format(_LEFT, y, WIDTH - _RIGHT))
        drawn.append(Markup('<text x="{}" y="{:.1f}" class="left">{}</text>').format(_LEFT - 6, y + 4, label))
    for x, label in columns:
        text = Markup('<text x="{:.1f}" y="{}" class="below">{}</text>')
        drawn.append(text.format(min(x, WIDTH - _RIGHT - 4), HEIGHT - _BOTTOM + 16, label))
    return Markup("").join(drawn)


def _svg(title: str, drawn: Sequence[Markup], x_label: str) -> Markup:
    frame = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>')
    below = Markup('<text x="{}" y="{}" class="below axis">{}</text>').format(
        (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 4, x_label
    )
    return frame.format(WIDTH, HEIGHT, escape(title), Markup("").join(drawn), below)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:.3g}"
