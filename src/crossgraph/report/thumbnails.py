"""Shrinks pictures to data URIs that a page can hold."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, JpegImagePlugin, features

SIDE = 360  # pixels, the longer one
_QUALITY = 72
_MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class Thumbnail:
    """A small picture.

    Attributes:
        source: As a data URI; "" where there is no picture that can be read.
        width: In pixels.
        height: In pixels.
    """

    source: str
    width: int
    height: int


EMPTY = Thumbnail("", SIDE, SIDE)


def thumbnail(path: Path | None, side: int = SIDE) -> Thumbnail:
    """Return a picture whose longer side is at most `side`, upright, on white; `EMPTY` where it cannot be read.

    Args:
        path: The picture, or None where only its features are known.
        side: In pixels.
    """
    if path is None:
        return EMPTY
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > _MAX_PIXELS:
                    return EMPTY
                return _encoded(_shrunk(image, side))
    except Exception:  # noqa: BLE001 decoders raise nearly anything; a page with an empty frame is better than none
        return EMPTY


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft("RGB", (2 * side, 2 * side))
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        over = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    small = upright.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def _encoded(image: Image.Image) -> Thumbnail:
    file = io.BytesIO()
    kind = "webp" if features.check("webp") else "jpeg"
    image.save(file, kind, quality=_QUALITY, method=4, optimize=True)
    source = f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    return Thumbnail(source, image.width, image.height)
