"""Draws the reliability plot of a calibration: predicted probabilities against observed shares of matches.

It is drawn as SVG by hand, so that a bundle has it whatever packages are installed. Both axes are square roots:
most pairs of a short list have small probabilities, which a linear axis would heap up in one corner.
"""

from __future__ import annotations

import math
from html import escape

from crossgraph.bundle.calibration import Calibration

PLOT = "reliability.svg"
"""Its name beside bundle.json."""
_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 400, 66, 62, 28, 68
_TICKS = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1)
_SURE = 1.96  # standard deviations of a 95 % interval
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.faint{fill:#59636e}.grid{stroke:#e3e7eb}"
    ".even{stroke:#59636e;stroke-dasharray:5 4}.range{stroke:#0072B2;stroke-width:2}.bin{fill:#0072B2}"
)


def draw(calibration: Calibration, name: str) -> str:
    """Return the plot as an SVG file.

    Args:
        calibration: With bins.
        name: What it is called in the title.
    """
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM
    summary = f"{calibration.pairs:,} short-list pairs of {calibration.gallery:,} dev pictures"
    summary += f", {100 * calibration.prior:.1f} % match"
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img"><style>{_STYLE}</style>',
        f"<title>{escape(f'Reliability of {name}: {summary}')}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="22" font-weight="600">{escape(f"Reliability of {name}")}</text>',
        f'<text x="{_LEFT}" y="42" class="faint">{summary}</text>',
        *_grid(),
        f'<path class="even" d="M{_x(0):.1f},{_y(0):.1f}L{_x(1):.1f},{_y(1):.1f}"/>',
    ]
    for predicted, observed, count in calibration.bins:
        low, high = wilson(observed, count)
        x, label = _x(predicted), f"predicted {predicted:.3f}, found {observed:.3f} of {count:,} pairs"
        parts.append(f'<path class="range" d="M{x:.1f},{_y(low):.1f}V{_y(high):.1f}"/>')
        parts.append(
            f'<circle class="bin" cx="{x:.1f}" cy="{_y(observed):.1f}" r="4.5"><title>{label}</title></circle>'
        )
    turned = f'transform="translate(16 {_TOP + _SIDE / 2}) rotate(-90)" text-anchor="middle"'
    gap = f"mean gap {100 * calibration.expected_error:.2f} points, each half judged by the other half's curve"
    parts += [
        f'<text x="{_LEFT + _SIDE / 2}" y="{_TOP + _SIDE + 40}" text-anchor="middle">predicted P(match)</text>',
        f'<text x="{_LEFT + _SIDE / 2}" y="{_TOP + _SIDE + 58}" text-anchor="middle" class="faint">{gap}</text>',
        f"<text {turned}>share that matches, with its 95 % interval</text></svg>",
    ]
    return "\n".join(parts) + "\n"


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share found in so many cases, after Wilson."""
    spread = _SURE**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _SURE * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def _grid() -> list[str]:
    lines: list[str] = []
    for tick in _TICKS:
        x, y = _x(tick), _y(tick)
        lines.append(f'<path class="grid" d="M{x:.1f},{_TOP}V{_TOP + _SIDE}M{_LEFT},{y:.1f}H{_LEFT + _SIDE}"/>')
        label = f"{100 * tick:g} %"
        lines.append(f'<text class="faint" x="{x:.1f}" y="{_TOP + _SIDE + 18}" text-anchor="middle">{label}</text>')
        lines.append(f'<text class="faint" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return lines


def _x(share: float) -> float:
    return _LEFT + _SIDE * math.sqrt(share)


def _y(share: float) -> float:
    return _TOP + _SIDE * (1 - math.sqrt(share))
