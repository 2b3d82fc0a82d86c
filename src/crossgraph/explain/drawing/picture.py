"""Reads pictures for figures, and lays densities over their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image, ImageOps

from crossgraph.core.errors import InputError
from crossgraph.explain.drawing.theme import Theme
from crossgraph.vision.pictures import BrokenPicture, PictureLoader

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Picture:
    """A picture read once, to be drawn in several sizes.

    Attributes:
        aspect: Width divided by height.
        pixels: As large as it is ever drawn.
    """

    aspect: float
    pixels: Pixels

    def resized(self, width: int, height: int) -> Pixels:
        """Return the whole picture in so many pixels."""
        image = Image.fromarray(self.pixels)
        return np.asarray(image.resize((max(1, width), max(1, height)), Image.Resampling.LANCZOS))


def read_picture(picture: Path | Image.Image, longest: int = 1600) -> Picture:
    """Read a picture as the region encoder sees it, but in its own proportions.

    Args:
        picture: A file or an open image.
        longest: Pixels of the longer side at most.

    Raises:
        InputError: It cannot be read.
    """
    if isinstance(picture, Image.Image):
        upright = ImageOps.exif_transpose(picture).convert("RGBA")
        upright.thumbnail((longest, longest))
        paper = Image.new("RGBA", upright.size, "white")
        return Picture(_aspect(*upright.size), np.array(Image.alpha_composite(paper, upright).convert("RGB")))
    if not picture.is_file():
        raise InputError(f"{picture}: {'is a folder' if picture.is_dir() else 'no such file'}", "give a picture")
    try:
        with PictureLoader(longest) as loader:
            loaded = loader.load(picture)
    except BrokenPicture as reason:
        raise InputError(f"{picture}: {reason}", "give a picture that opens") from reason
    scale = min(1.0, longest / max(loaded.width, loaded.height))
    square = Picture(_aspect(loaded.width, loaded.height), loaded.pixels)  # the loader makes every picture square
    return Picture(square.aspect, square.resized(round(loaded.width * scale), round(loaded.height * scale)))


def _aspect(width: int, height: int) -> float:
    """Return width by height, limited to what can be drawn: a line of pixels becomes a thin strip."""
    return min(40.0, max(1 / 40, width / height))


def overlay_density(
    pixels: Pixels, density: Float32[np.ndarray, "height width"], top: float, theme: Theme
) -> Float[np.ndarray, "height width 3"]:
    """Lay a density over a picture of the same size.

    The picture is dimmed and drained of colour. Where the density is above an even spread (1) it is covered by the
    scale's colours, the more the denser.

    Args:
        pixels: Of the picture.
        density: In units of an even spread.
        top: The density of the last colour.
        theme: Says how far the picture is dimmed.

    Returns:
        RGB from 0 to 1.
    """
    picture = pixels / 255
    grey = picture @ np.array([0.2126, 0.7152, 0.0722])
    dimmed = theme.dimmed * (0.75 * grey[..., None] + 0.25 * picture)
    return np.clip(overlay_shade(dimmed, density_shade(density, top)), 0, 1)


def overlay_shade(
    background: Float[np.ndarray, "*pixel 3"], shade: Float[np.ndarray, "*pixel"]
) -> Float[np.ndarray, "*pixel 3"]:
    """Cover RGB pixels by the colours of shades from 0 to 1: at most by 80 %, so that the picture stays visible."""
    from matplotlib import colormaps

    opacity = 0.8 * np.sqrt(shade)[..., None]
    return (1 - opacity) * background + opacity * colormaps["viridis"](0.25 + 0.75 * shade)[..., :3]


def density_shade(density: Float[np.ndarray, "*pixel"], top: float) -> Float[np.ndarray, "*pixel"]:
    """Return densities on the figures' scale: 0 up to an even spread, then equal steps for every doubling, 1 at `top`.

    Args:
        density: In units of an even spread.
        top: Above 1.
    """
    return np.clip(np.log2(np.maximum(density, 1.0)) / np.log2(top), 0, 1)
