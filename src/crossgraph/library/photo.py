"""Decodes a picture file once: pixels for the region encoder, thumbnail, difference hash, EXIF facts."""

from __future__ import annotations

import contextlib
import datetime
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from crossgraph.data.near_duplicates import hash_picture
from crossgraph.vision.pictures import BrokenPicture, PictureLoader, readable_formats

THUMBNAIL = 384
"""Longest side of a thumbnail in pixels."""
_EXIF, _GPS = 0x8769, 0x8825
_TAKEN, _CHANGED, _MAKE, _MODEL, _ORIENTATION = 0x9003, 0x0132, 0x010F, 0x0110, 0x0112


@dataclass(frozen=True)
class Photo:
    """A decoded picture with all that indexing needs.

    Attributes:
        pixels: The whole picture as the region encoder takes it.
        thumbnail: A WebP file.
        width: In pixels, upright.
        height: In pixels, upright.
        hash: Difference hash, or None where the picture is nearly one colour.
        orientation: EXIF's, 1..8.
        date: ISO without zone, or None.
        camera: Make and model, or None.
        latitude: In degrees, or None.
        longitude: In degrees, or None.
    """

    pixels: UInt8[np.ndarray, "size size 3"]
    thumbnail: bytes
    width: int
    height: int
    hash: bytes | None
    orientation: int
    date: str | None
    camera: str | None
    latitude: float | None
    longitude: float | None


def read_photo(data: bytes, loader: PictureLoader, size: int, max_megapixels: float) -> Photo:
    """Read a picture from its file's bytes.

    Args:
        data: The whole file.
        loader: Entered by the caller.
        size: Side of the region encoder's square.
        max_megapixels: Larger pictures are refused before they are decoded.

    Raises:
        BrokenPicture: It cannot be read; the message says why.
    """
    if not data:
        raise BrokenPicture("empty file")
    try:
        return _read(data, loader, size, max_megapixels)
    except BrokenPicture:
        raise
    except UnidentifiedImageError as error:
        raise BrokenPicture("not a picture (JPEG, PNG, WebP, GIF, TIFF or BMP)") from error
    except Image.DecompressionBombError as error:
        raise BrokenPicture(f"more than the {max_megapixels:g} megapixels allowed (--max-megapixels)") from error
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise BrokenPicture("truncated" if "truncated" in reason.lower() else f"damaged ({reason})") from error


def _read(data: bytes, loader: PictureLoader, size: int, max_megapixels: float) -> Photo:
    with Image.open(io.BytesIO(data), formats=readable_formats()) as image:
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            raise BrokenPicture(
                f"{width} × {height} = {width * height / 1e6:.0f} megapixels, more than the "
                f"{max_megapixels:g} allowed (--max-megapixels)"
            )
        facts = _facts(image)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            side = max(2 * size, THUMBNAIL)
            image.draft("RGB", (side, side))
        image.load()
        pixels = loader.convert(image)
        thumbnail, difference_hash = _thumbnail(image)
        if facts["orientation"] >= 5 and image.format != "TIFF":  # which Pillow turns by itself
            width, height = height, width
    return Photo(pixels, thumbnail, width, height, difference_hash, **facts)


def _thumbnail(image: Image.Image) -> tuple[bytes, bytes | None]:
    """Return the picture as a small upright WebP file, and its difference hash."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        spread = max(float(values.max() - values.min()), 1e-30)
        image = Image.fromarray(((values - values.min()) * (255 / spread)).astype(np.uint8))
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.HAMMING, reducing_gap=2.0)  # half of bicubic's time
    small = ImageOps.exif_transpose(small)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    file = io.BytesIO()
    small.save(file, "WEBP", quality=72, method=0)
    return file.getvalue(), hash_picture(small)


def _facts(image: Image.Image) -> dict[str, Any]:
    """Return the facts of EXIF; a damaged EXIF has none."""
    facts: dict[str, Any] = dict.fromkeys(("date", "camera", "latitude", "longitude")) | {"orientation": 1}
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION, 1)
        facts["orientation"] = orientation if orientation in range(1, 9) else 1
        inner = exif.get_ifd(_EXIF)
        facts["date"] = _date(inner.get(_TAKEN)) or _date(exif.get(_CHANGED))
        make, model = (_text(exif.get(tag)) for tag in (_MAKE, _MODEL))
        named = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
        facts["camera"] = named or None
        gps = exif.get_ifd(_GPS)
        north, east = _degrees(gps.get(2), gps.get(1), "S"), _degrees(gps.get(4), gps.get(3), "W")
        if north is not None and east is not None and abs(north) <= 90 and abs(east) <= 180:
            facts["latitude"], facts["longitude"] = north, east
    return facts


def _date(value: object) -> str | None:
    """Return EXIF's "2021:05:03 12:30:00" as ISO, or None where it is no date."""
    with contextlib.suppress(ValueError):
        taken = datetime.datetime.strptime(_text(value)[:19], "%Y:%m:%d %H:%M:%S")
        return taken.isoformat() if taken.year > 1 else None
    return None


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return " ".join(text.replace("\0", " ").split())


def _degrees(value: Any, side: Any, negative: str) -> float | None:
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        degrees, minutes, seconds = (float(part) for part in value)
        angle = degrees + minutes / 60 + seconds / 3600
        if np.isfinite(angle):
            return -angle if _text(side).upper() == negative else angle
    return None
