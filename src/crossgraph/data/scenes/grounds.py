"""Draw the grounds of scenes as SVG in a box of 100 × 100: sky, horizon, floor, and what belongs there.

Only gradients and shapes, so that `resvg` draws one in a few milliseconds and alike on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random


def background(ground: str, rng: Random) -> str:
    """Return the SVG of a ground; `rng` varies hills, clouds, stars, houses.

    Args:
        ground: A name of `plan.GROUNDS`.
        rng: Source of the variation.
    """
    return f'<svg viewBox="0 0 100 100" xmlns="http://www.w3.org/2000/svg">{_DRAW[ground](rng)}</svg>'


def _fill(name: str, top: float, bottom: float, *colours: str) -> str:
    """Return a band across the picture with a gradient from its top to its bottom."""
    step = 1 / max(1, len(colours) - 1)
    stops = "".join(f'<stop offset="{k * step:.2f}" stop-color="{colour}"/>' for k, colour in enumerate(colours))
    return (
        f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1">{stops}</linearGradient>'
        f'<rect x="0" y="{top:.2f}" width="100" height="{bottom - top:.2f}" fill="url(#{name})"/>'
    )


def _glow(x: float, y: float, radius: float, colour: str, disc: str) -> str:
    """Return a sun or a moon with light around it."""
    return (
        f'<radialGradient id="glow"><stop offset="0" stop-color="{colour}" stop-opacity=".75"/>'
        f'<stop offset="1" stop-color="{colour}" stop-opacity="0"/></radialGradient>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius * 3.2:.1f}" fill="url(#glow)"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{disc}"/>'
    )


def _cloud(x: float, y: float, scale: float, colour: str, opacity: float) -> str:
    puffs = ((-6, 0.6, 3.2), (-2, -1.2, 4.4), (3, -0.4, 3.8), (7, 0.9, 2.7))
    circles = "".join(f'<circle cx="{px}" cy="{py}" r="{r}"/>' for px, py, r in puffs)
    base = '<rect x="-9" y="0.6" width="18.6" height="3" rx="1.5"/>'
    transform = f'transform="translate({x:.1f} {y:.1f}) scale({scale:.2f})"'
    return f'<g {transform} fill="{colour}" opacity="{opacity:.2f}">{circles}{base}</g>'


def _clouds(rng: Random, most: int, colour: str = "#fff", opacity: float = 0.85) -> str:
    return "".join(
        _cloud(rng.uniform(5, 95), rng.uniform(7, 32), rng.uniform(0.6, 1.2), colour, opacity * rng.uniform(0.6, 1))
        for _ in range(rng.randint(1, most))
    )


def _ridge(rng: Random, y: float, swing: float, colour: str, waves: float = 1.5, bottom: float = 100) -> str:
    """Return a range of hills: a soft wave at height y, filled down to `bottom`."""
    phase, other = rng.uniform(0, 6.28), rng.uniform(0, 6.28)
    points: list[str] = []
    for k in range(26):
        x = 4 * k
        wave = math.sin(x / 100 * waves * 6.28 + phase) + 0.5 * math.sin(x / 100 * waves * 14 + other)
        points.append(f"{x},{y + swing * wave / 1.5:.2f}")
    return f'<path d="M0,{bottom} L{" L".join(points)} L100,{bottom}Z" fill="{colour}"/>'


def _peaks(rng: Random, y: float, colour: str, snow: str) -> str:
    """Return mountains with white tops, their feet at y."""
    parts: list[str] = []
    for k in range(5):
        x, height, half = 25 * k + rng.uniform(-8, 8), rng.uniform(14, 28), rng.uniform(16, 24)
        parts.append(f'<path d="M{x - half:.1f},{y} L{x:.1f},{y - height:.1f} L{x + half:.1f},{y}Z" fill="{colour}"/>')
        cap, wide = height * 0.34, half * 0.34
        parts.append(
            f'<path d="M{x - wide:.1f},{y - height + cap:.1f} L{x:.1f},{y - height:.1f} l{wide:.1f},{cap:.1f}'
            f' l{-wide * 0.6:.1f},-1.6 l{-wide * 0.4:.1f},2.2 l{-wide * 0.5:.1f},-2.2Z" fill="{snow}"/>'
        )
    return "".join(parts)


def _dots(
    rng: Random, count: int, top: float, bottom: float, colours: tuple[str, ...], radius: float, opacity: float = 1
) -> str:
    return "".join(
        f'<circle cx="{rng.uniform(0, 100):.1f}" cy="{rng.uniform(top, bottom):.1f}" '
        f'r="{radius * rng.uniform(0.5, 1.2):.2f}" fill="{rng.choice(colours)}" opacity="{opacity}"/>'
        for _ in range(count)
    )


def _tufts(rng: Random, count: int, top: float, colour: str) -> str:
    """Return blades of grass, larger towards the viewer."""
    blades: list[str] = []
    for _ in range(count):
        y = rng.uniform(top, 99)
        x, high = rng.uniform(0, 100), 0.8 + 2.2 * (y - top) / (100 - top)
        blades.append(
            f"M{x - high * 0.4:.1f},{y - high:.1f} L{x:.1f},{y:.1f} L{x + high * 0.5:.1f},{y - high * 0.9:.1f}"
        )
    return f'<path d="{" ".join(blades)}" stroke="{colour}" stroke-width=".45" fill="none" stroke-linecap="round"/>'


def _meadow(rng: Random) -> str:
    horizon = rng.uniform(56, 64)
    return (
        _fill("sky", 0, 70, "#7cc4f4", "#d7f0fb")
        + _glow(rng.uniform(10, 90), rng.uniform(10, 20), 5, "#fff3b0", "#ffe873")
        + _clouds(rng, 3)
        + _ridge(rng, horizon - 5, 4, "#a9d6a0", 1.1)
        + _ridge(rng, horizon - 1, 3, "#8fca77", 1.4)
        + _fill("grass", horizon + 2, 100, "#a5d86a", "#78b943")
        + _ridge(rng, horizon + 2, 1.2, "#a5d86a", 0.8, horizon + 8)
        + _tufts(rng, 70, horizon + 6, "#5f9c34")
        + _dots(rng, 26, horizon + 8, 99, ("#fff", "#fdf1a3", "#f7c3d7"), 0.7)
    )


def _beach(rng: Random) -> str:
    horizon = rng.uniform(46, 52)
    shore = horizon + rng.uniform(13, 17)
    lines = "".join(
        f'<rect x="{rng.uniform(-10, 90):.1f}" y="{rng.uniform(horizon + 1.5, shore - 3):.1f}" '
        f'width="{rng.uniform(8, 24):.1f}" height=".5" rx=".25" fill="#fff" opacity=".45"/>'
        for _ in range(12)
    )
    return (
        _fill("sky", 0, horizon, "#6fc1f2", "#e4f6fd")
        + _glow(rng.uniform(10, 90), rng.uniform(10, 20), 5, "#fff3b0", "#fff0a0")
        + _clouds(rng, 3)
        + _fill("sea", horizon, shore + 4, "#2f93c9", "#6fd0dd")
        + lines
        + _ridge(rng, shore - 0.3, 1.2, "#ffffff", 1.2)
        + _ridge(rng, shore + 1.2, 1.2, "#f3dca4", 1.2)
        + _fill("sand", shore + 3, 100, "#f3dca4", "#e3bd78")
        + _dots(rng, 70, shore + 4, 99, ("#cfa561", "#fbeec8"), 0.35, 0.8)
    )


def _snow(rng: Random) -> str:
    horizon = rng.uniform(58, 64)
    firs = "".join(
        f'<path d="M{x:.1f},{horizon - h:.1f} l{h * 0.3:.1f},{h:.1f} l{-h * 0.6:.1f},0Z" fill="#7fa3a8"/>'
        for x, h in ((rng.uniform(0, 100), rng.uniform(4, 8)) for _ in range(12))
    )
    return (
        _fill("sky", 0, 70, "#a9c9e6", "#eef5fb")
        + _peaks(rng, horizon, "#9db5cc", "#f4f9fd")
        + firs
        + _fill("ground", horizon, 100, "#f9fcff", "#d3e3f1")
        + _ridge(rng, horizon + 1, 1.5, "#f9fcff", 1.1, horizon + 8)
        + _ridge(rng, horizon + 14, 2.0, "#eaf2fa", 0.7, horizon + 24)
        + _fill("front", horizon + 22, 100, "#e6f0f9", "#d0e0ef")
        + _dots(rng, 60, 2, 98, ("#fff",), 0.7, 0.9)
    )


def _street(rng: Random) -> str:
    pavement = rng.uniform(66, 70)
    houses: list[str] = []
    x = -3.0
    while x < 100:
        width, height = rng.uniform(12, 20), rng.uniform(24, 48)
        colour = rng.choice(("#e8c7a0", "#d9a58c", "#b9c4d6", "#c9d3b4", "#e3d3c0", "#c7b2c9"))
        top = pavement - height
        houses.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>')
        houses.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="1.2" fill="#000" opacity=".15"/>')
        columns, rows = int(width // 4.6), int(height // 7)
        pane = rng.choice(("#6f8fae", "#88a6bf", "#fbe7a8"))
        for column in range(columns):
            for row in range(rows):
                wx, wy = x + (width - columns * 4.6) / 2 + column * 4.6 + 1.1, top + 3 + row * 7
                houses.append(
                    f'<rect x="{wx:.1f}" y="{wy:.1f}" width="2.4" height="3.6" rx=".3" fill="{pane}" opacity=".85"/>'
                )
        x += width
    dashes = "".join(
        f'<rect x="{d + rng.uniform(0, 1):.1f}" y="97" width="9" height="1.3" fill="#fff" opacity=".8"/>'
        for d in range(0, 100, 18)
    )
    slabs = "".join(
        f'<path d="M{s},{pavement:.1f} l-3,9" stroke="#a9a79f" stroke-width=".35"/>' for s in range(4, 110, 9)
    )
    return (
        _fill("sky", 0, 70, "#8fc6ea", "#f3f3e6")
        + _clouds(rng, 2)
        + "".join(houses)
        + _fill("pavement", pavement, pavement + 9, "#cbc8bf", "#bdbab1")
        + slabs
        + _fill("road", pavement + 9, 100, "#8e9297", "#74787d")
        + f'<rect y="{pavement + 8.4:.1f}" width="100" height="1" fill="#97948c"/>'
        + dashes
    )


def _room(rng: Random) -> str:
    floor = rng.uniform(60, 65)
    wall, stripe = rng.choice(
        (
            ("#f4e3cf", "#efd8bd"),
            ("#dbe8e4", "#cfe0da"),
            ("#e9e0ef", "#dfd3e8"),
            ("#f6e6b8", "#f2dda2"),
            ("#d9e4f2", "#ccdaec"),
        )
    )
    stripes = "".join(f'<rect x="{x}" width="4" height="{floor:.1f}" fill="{stripe}"/>' for x in range(0, 100, 8))
    x = rng.uniform(8, 62)
    window = (
        f'<g transform="translate({x:.1f} 9)"><rect width="30" height="31" rx="1" fill="#fffdf8"/>'
        '<path d="M2,2 h12.4 v27 h-12.4Z M15.6,2 h12.4 v27 h-12.4Z" fill="#a8daf5"/>'
        '<path d="M2,29 v-6 q6,-4 12.4,0 v6Z M15.6,29 v-6 q6,-4 12.4,0 v6Z" fill="#9fcf86"/>'
        '<rect x="-1.5" y="31" width="33" height="2" rx=".6" fill="#e8dccb"/></g>'
    )
    planks = "".join(
        f'<path d="M0,{y:.1f} H100" stroke="#a8743f" stroke-width=".35" opacity=".7"/>'
        for y in (floor + 5, floor + 11, floor + 18.5, floor + 27)
    )
    joints = "".join(
        f'<path d="M{rng.uniform(0, 100):.1f},{y:.1f} v{h}" stroke="#a8743f" stroke-width=".35" opacity=".7"/>'
        for y, h in ((floor, 5), (floor + 5, 6), (floor + 11, 7.5), (floor + 18.5, 8.5))
        for _ in range(4)
    )
    rug = rng.choice(("#c98b8b", "#8ba6c9", "#9bb58a", "#c2a3c9"))
    return (
        f'<rect width="100" height="{floor:.1f}" fill="{wall}"/>{stripes}{window}'
        + _fill("floor", floor, 100, "#cf9a60", "#b98047")
        + planks
        + joints
        + f'<rect y="{floor - 2.4:.1f}" width="100" height="2.4" fill="#fffaf2"/>'
        + f'<ellipse cx="50" cy="87" rx="45" ry="10.5" fill="{rug}" opacity=".75"/>'
        + '<ellipse cx="50" cy="87" rx="40" ry="8.6" fill="none" stroke="#fff" stroke-width=".7" opacity=".6"/>'
    )


def _night(rng: Random) -> str:
    horizon = rng.uniform(58, 66)
    x, y = rng.uniform(12, 88), rng.uniform(10, 22)
    moon = f'<path d="M{x:.1f},{y - 5:.1f} a5,5 0 1 0 5,7 a4.4,4.4 0 0 1 -5,-7Z" fill="#fdf3c4"/>'
    return (
        _fill("sky", 0, 75, "#131b44", "#3c4f8c", "#6f7fb3")
        + _dots(rng, 60, 1, horizon - 6, ("#fff", "#fff6cf", "#cfe0ff"), 0.42, 0.9)
        + _glow(x, y, 5, "#c9d4ff", "none")
        + moon
        + _ridge(rng, horizon - 4, 4, "#34497c", 1.2)
        + _ridge(rng, horizon, 2.5, "#2f5a63", 1.5)
        + _fill("grass", horizon + 4, 100, "#3f7560", "#2d5848")
        + _ridge(rng, horizon + 3, 1.2, "#3f7560", 0.8, horizon + 8)
        + _tufts(rng, 50, horizon + 8, "#244a3c")
        + _dots(rng, 10, horizon - 2, 96, ("#fff3a0",), 0.5, 0.8)
    )


def _desert(rng: Random) -> str:
    horizon = rng.uniform(54, 60)
    return (
        _fill("sky", 0, 66, "#7fc4e8", "#fbe8c3")
        + _glow(rng.uniform(10, 90), rng.uniform(9, 18), 6, "#fff0b0", "#fff2b3")
        + _ridge(rng, horizon - 3, 4, "#e9b97a", 1.0)
        + _ridge(rng, horizon + 3, 4, "#e2a660", 0.8)
        + _ridge(rng, horizon + 10, 3, "#eab871", 0.6)
        + _fill("front", horizon + 16, 100, "#e8b46c", "#d4974d")
        + _ridge(rng, horizon + 15, 2, "#e8b46c", 0.7, horizon + 22)
        + "".join(_ripple(rng, rng.uniform(horizon + 20, 98)) for _ in range(9))
    )


def _ripple(rng: Random, y: float) -> str:
    x, width = rng.uniform(-5, 80), rng.uniform(12, 30)
    wave = f"M{x:.1f},{y:.1f} q{width / 4:.1f},-1.4 {width / 2:.1f},0 t{width / 2:.1f},0"
    return f'<path d="{wave}" stroke="#bd8340" stroke-width=".4" fill="none" opacity=".6"/>'


def _sunset(rng: Random) -> str:
    horizon = rng.uniform(54, 60)
    return (
        _fill("sky", 0, horizon + 6, "#5b4a8c", "#c9668f", "#f79a62", "#ffd98a")
        + _glow(rng.uniform(20, 80), horizon - 4, 8, "#ffe9a8", "#fff1b8")
        + _clouds(rng, 3, "#f7b7a3", 0.6)
        + _ridge(rng, horizon - 2, 3.5, "#8a5a86", 1.2)
        + _ridge(rng, horizon + 3, 2.5, "#75507c", 1.5)
        + _fill("field", horizon + 6, 100, "#b98a5c", "#8a6a4a")
        + _ridge(rng, horizon + 6, 1.2, "#b98a5c", 0.8, horizon + 12)
        + _tufts(rng, 70, horizon + 10, "#6d5338")
    )


_DRAW: Mapping[str, Callable[[Random], str]] = {
    "meadow": _meadow,
    "beach": _beach,
    "snow": _snow,
    "street": _street,
    "room": _room,
    "night": _night,
    "desert": _desert,
    "sunset": _sunset,
}
