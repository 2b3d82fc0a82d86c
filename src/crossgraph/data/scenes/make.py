"""Make a scene from two numbers: the picture, its captions, boxes and relations."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from jaxtyping import Int8
from PIL import Image

from crossgraph.data.scenes import captions, layout, plan, render
from crossgraph.data.scenes.grounds import background
from crossgraph.data.scenes.plan import FACTORS, GROUP_SIZE, Fact, Factor, Plan

VERSION = 1
"""Raised whenever the same numbers would give another picture or caption."""

SIZE = 320


@dataclass(frozen=True)
class Object:
    """An object of a scene.

    Attributes:
        name: Its name: "dog".
        colour: A colour's name, or empty for the pictogram's own look.
        size: "big", "small" or empty.
        box: Its visible pixels: x0, y0, x1, y1 in pixels, the ends exclusive.
        group: Number of its group: equal for objects that one phrase names ("two red cars").
    """

    name: str
    colour: str
    size: str
    box: tuple[int, int, int, int]
    group: int


@dataclass(frozen=True)
class Scene:
    """A picture with its captions and the objects in it.

    Attributes:
        picture: RGB, square.
        captions: Five sentences.
        ground: Its background: "meadow", "snow", ...
        objects: Back to front.
        relations: Between groups: (0, "left of", 1).
        owners: The number in `objects` of the object seen at each pixel, -1 for the ground.
        factor: The difference between the two scenes of a hard pair; None for an ordinary scene.
    """

    picture: Image.Image
    captions: tuple[str, ...]
    ground: str
    objects: tuple[Object, ...]
    relations: tuple[Fact, ...]
    owners: Int8[np.ndarray, "side side"]
    factor: Factor | None = None


def scene(seed: int, index: int, size: int = SIZE) -> Scene:
    """Make ordinary scene number `index`; it depends on nothing but the arguments.

    Args:
        seed: Which series of scenes.
        index: Which scene of it, from 0.
        size: Side of the picture in pixels; the same scene at every size.

    Raises:
        InputError: A package of the extra `demo` is missing.
    """
    rng = Random(f"scenes {VERSION}/{seed}/{index}")
    chosen = plan.choose(rng)
    return _make(chosen, captions.describe(chosen, rng), rng, size, None)


def hard_scene(seed: int, index: int, size: int = SIZE) -> Scene:
    """Make hard scene number `index`: one of the pair `index // 2`, which differ in one respect only.

    Pairs take turns: relation, count, colour.

    Args:
        seed: Which series of scenes.
        index: Which scene of it, from 0.
        size: Side of the picture in pixels.

    Raises:
        InputError: A package of the extra `demo` is missing.
    """
    group, member = divmod(index, GROUP_SIZE)
    rng = Random(f"hard scenes {VERSION}/{seed}/{group}")
    factor = FACTORS[group % len(FACTORS)]
    plans = plan.choose_hard(rng, factor)
    sentences = captions.describe_hard(plans, factor, rng)[member]
    return _make(plans[member], sentences, Random(f"{rng.random()}"), size, factor)


def _make(chosen: Plan, sentences: tuple[str, ...], rng: Random, size: int, factor: Factor | None) -> Scene:
    ground = background(chosen.ground, rng)
    sprites = layout.arrange(chosen, rng, render.silhouette)
    picture, owners = render.draw(chosen, sprites, ground, size)
    boxes = render.visible_boxes(owners, len(sprites))
    groups = chosen.groups
    objects = tuple(
        Object(groups[s.group].thing.name, groups[s.group].colour, groups[s.group].size, box, s.group)
        for s, box in zip(sprites, boxes, strict=True)
    )
    return Scene(picture, sentences, chosen.ground, objects, chosen.facts, owners, factor)
