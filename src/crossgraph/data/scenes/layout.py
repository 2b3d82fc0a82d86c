"""Lay out a plan: from clusters of things to sprites with positions, in drawing order.

All lengths are shares of the (square) picture's side, x to the right, y downwards. A cluster is first
built around its own origin (its left end, the ground under it), then scaled and moved to its position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from jaxtyping import Bool

from crossgraph.data.scenes.objects import Thing
from crossgraph.data.scenes.plan import Cluster, Group, Plan

Silhouette = Callable[[Thing], Bool[np.ndarray, "row column"]]
"""Which pixels of a thing's trimmed drawing are its own."""

CROWD = {1: 1.0, 2: 0.92, 3: 0.8, 4: 0.7, 5: 0.62}
SIZES = {"": 1.25, "big": 1.6, "small": 0.8}
MARGIN = 0.03
SEEN_BEHIND = (0.5, 0.8)
"""Visible share of a thing that stands behind another, as near as the shapes allow."""


@dataclass(frozen=True)
class Sprite:
    """The position and size of an object.

    Attributes:
        group: Number of its group in the plan.
        x: Its centre.
        bottom: Its lower end (y downwards); inside a cluster, its height above the cluster's ground.
        width: Its width.
        height: Its height.
        mirrored: Whether it looks the other way.
        clip: Nothing of it is drawn below this y (above the cluster's ground, inside a cluster); None = all.
        shadow: How dark its shadow on the ground is, 0..1.
    """

    group: int
    x: float
    bottom: float
    width: float
    height: float
    mirrored: bool = False
    clip: float | None = None
    shadow: float = 1.0


def arrange(plan: Plan, rng: Random, silhouette: Silhouette) -> list[Sprite]:
    """Return a sprite for every object of `plan`, in drawing order, back to front.

    Args:
        plan: The scene.
        rng: Source of jitter.
        silhouette: Returns a thing's shape.
    """
    builder = _Builder(rng, silhouette)
    blocks: list[list[Sprite]] = []
    first = 0
    for cluster in plan.clusters:
        blocks.append(builder.build(cluster, first))
        first += len(cluster.groups)
    bases = [rng.uniform(0.80, 0.94) for _ in blocks]
    blocks = [_scaled(block, 0.8 + 2.2 * (base - 0.80)) for block, base in zip(blocks, bases, strict=True)]
    widths = [max(s.x + s.width / 2 for s in block) for block in blocks]
    gap = 0.04
    free = 1 - 2 * MARGIN - gap * (len(blocks) - 1)
    tallest = max(
        (s.bottom + s.height) / (base - 0.03) for block, base in zip(blocks, bases, strict=True) for s in block
    )
    shrink = min(max(1.0, min(1.3, 0.6 / sum(widths))), free / sum(widths), 1 / tallest)
    slack = free - shrink * sum(widths)
    shares = [rng.uniform(0.3, 1) for _ in range(len(blocks) + 1)]
    placed: list[tuple[float, list[Sprite]]] = []
    left = MARGIN
    for number, (block, base, width) in enumerate(zip(blocks, bases, widths, strict=True)):
        left += slack * shares[number] / sum(shares)
        placed.append((base, [_moved(s, left, base) for s in _scaled(block, shrink)]))
        left += shrink * width + gap
    return [sprite for _, block in sorted(placed, key=lambda item: item[0]) for sprite in block]


def _scaled(block: list[Sprite], factor: float) -> list[Sprite]:
    lengths = ("x", "bottom", "width", "height", "clip")
    return [
        replace(s, **{name: value * factor for name in lengths if (value := getattr(s, name)) is not None})
        for s in block
    ]


def _moved(sprite: Sprite, left: float, base: float) -> Sprite:
    clip = None if sprite.clip is None else base - sprite.clip
    return replace(sprite, x=sprite.x + left, bottom=base - sprite.bottom, clip=clip)


def _visible_share(back: Sprite, mask: np.ndarray, front: Sprite, cover: np.ndarray) -> float:
    """Return the share of a sprite's own pixels that another one leaves uncovered."""
    rows, columns = np.nonzero(mask[:, ::-1] if back.mirrored else mask)
    x = back.x + ((columns + 0.5) / mask.shape[1] - 0.5) * back.width
    y = back.bottom + (1 - (rows + 0.5) / mask.shape[0]) * back.height
    cover = cover[:, ::-1] if front.mirrored else cover
    column = np.floor(((x - front.x) / front.width + 0.5) * cover.shape[1]).astype(int)
    row = np.floor((1 - (y - front.bottom) / front.height) * cover.shape[0]).astype(int)
    within = (column >= 0) & (column < cover.shape[1]) & (row >= 0) & (row < cover.shape[0])
    return 1 - float(cover[row[within], column[within]].sum()) / max(1, rows.size)


class _Builder:
    """Builds clusters around their own origin: x from 0, `bottom` counted upwards from the ground."""

    def __init__(self, rng: Random, silhouette: Silhouette) -> None:
        self.rng = rng
        self.look = rng.random()  # an object looks the same in both pictures of a hard pair
        self.silhouette = silhouette

    def build(self, cluster: Cluster, first: int) -> list[Sprite]:
        """Return the cluster's sprites back to front, shifted so that the leftmost edge is 0."""
        main, other, second = cluster.main, cluster.other, first + 1
        if other is None:
            block = self._floating(main, first) if main.thing.air else self._standing(main, first)
        elif cluster.relation in ("below", "in front of"):
            build = self._above if cluster.relation == "below" else self._behind
            block = build(other, second, main, first)
        else:
            builders = (("above", self._above), ("on", self._on), ("under", self._under), ("inside", self._inside))
            block = dict(builders).get(str(cluster.relation), self._behind)(main, first, other, second)
        left = min(s.x - s.width / 2 for s in block)
        return [replace(s, x=s.x - left) for s in block]

    def _sprite(self, group: Group, number: int, most: tuple[float, float] = (1.0, 1.0)) -> Sprite:
        """Return an object of a group, no wider and higher than `most`, its x and bottom at 0."""
        own = Random(f"{self.look}/{group.thing.name}")
        size = group.thing.size * SIZES[group.size] * CROWD[group.count] * own.uniform(0.93, 1.1)
        rows, columns = self.silhouette(group.thing).shape
        shape = columns / rows
        width, height = size * shape**0.5, size / shape**0.5
        fit = min(1.0, most[0] / width, most[1] / height)
        mirrored = own.random() < 0.5
        return Sprite(number, 0.0, 0.0, width * fit, height * fit, mirrored, shadow=0.0 if group.thing.air else 1.0)

    def _line(
        self, group: Group, number: int, most: tuple[float, float] = (1.0, 1.0), gap: float = 0.02
    ) -> list[Sprite]:
        """Return the objects of a group side by side, of equal size, together no wider than `most[0]`."""
        share = (most[0] - gap * (group.count - 1)) / group.count
        first = self._sprite(group, number, (share, most[1]))
        return [
            replace(
                first,
                x=(first.width + gap) * k + first.width / 2,
                mirrored=first.mirrored if k % 2 == 0 else self.rng.random() < 0.5,
            )
            for k in range(group.count)
        ]

    def _standing(self, group: Group, number: int) -> list[Sprite]:
        line = self._line(group, number)
        depth = [self.rng.uniform(0, 0.05) if group.count > 1 else 0.0 for _ in line]
        line = [replace(s, bottom=d) for s, d in zip(line, depth, strict=True)]
        return sorted(line, key=lambda s: -s.bottom)

    def _floating(self, group: Group, number: int) -> list[Sprite]:
        level = self.rng.uniform(0.30, 0.50)
        return [replace(s, bottom=level + self.rng.uniform(-0.07, 0.07)) for s in self._line(group, number)]

    def _centred(self, line: list[Sprite], x: float) -> list[Sprite]:
        middle = (line[0].x + line[-1].x) / 2
        return [replace(s, x=s.x - middle + x) for s in line]

    def _above(self, main: Group, first: int, other: Group, second: int) -> list[Sprite]:
        below = self._sprite(other, second, (1.0, 0.42))
        if other.thing.air:
            below = replace(below, bottom=self.rng.uniform(0.03, 0.10))
        top = below.bottom + below.height + self.rng.uniform(0.05, 0.13)
        shift = self.rng.uniform(-0.2, 0.2) * below.width
        above = [replace(s, bottom=top + self.rng.uniform(0, 0.03)) for s in self._line(main, first, (0.6, 0.3))]
        return [below, *self._centred(above, shift)]

    def _on(self, main: Group, first: int, other: Group, second: int) -> list[Sprite]:
        support = self._sprite(other, second)
        height = support.height * (1 - other.thing.surface)
        line = self._line(main, first, (support.width * 0.8, 0.24), gap=0.01)
        slack = max(0.0, support.width * 0.42 - (line[-1].x + line[-1].width / 2) / 2)
        line = self._centred(line, self.rng.uniform(-slack, slack))
        return [support, *(replace(s, bottom=height, shadow=0.6) for s in line)]

    def _under(self, main: Group, first: int, other: Group, second: int) -> list[Sprite]:
        roof = self._sprite(other, second)
        shelter = roof.height * (1 - other.thing.surface) * 0.9
        line = self._line(main, first, (roof.width * 0.66, min(shelter, roof.height * 0.56)), gap=0.01)
        shift = 0.0 if other.thing.role == "support" else self.rng.choice((-0.14, 0.14)) * roof.width
        return [roof, *(replace(s, bottom=-0.008) for s in self._centred(line, shift))]

    def _behind(self, main: Group, first: int, other: Group, second: int) -> list[Sprite]:
        front, back = self._sprite(other, second), self._sprite(main, first)
        back = replace(back, x=self.rng.uniform(-0.2, 0.2) * min(front.width, back.width))
        wanted = self.rng.uniform(*SEEN_BEHIND)
        masks = self.silhouette(main.thing), self.silhouette(other.thing)
        heights = [0.02 + 0.02 * k for k in range(15)]
        shares = [_visible_share(replace(back, bottom=height), masks[0], front, masks[1]) for height in heights]
        best = min(range(len(heights)), key=lambda k: abs(shares[k] - wanted))
        return [replace(back, bottom=heights[best]), front]

    def _inside(self, main: Group, first: int, other: Group, second: int) -> list[Sprite]:
        container = self._sprite(other, second)
        rim = container.height * (1 - other.thing.surface)
        line = self._line(main, first, (container.width * 0.68, container.height * 0.85), gap=0.0)
        sunk = self.rng.uniform(0.2, 0.32)
        held = [replace(s, bottom=rim - sunk * s.height, clip=rim, shadow=0.0) for s in line]
        return [container, *self._centred(held, -0.04 * container.width)]
