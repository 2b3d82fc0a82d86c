"""Read picture files for the page: checked against the indexed content, upright, in a format that browsers show."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from crossgraph.library.library import Library
from crossgraph.library.manifest import Picture
from crossgraph.library.photo import THUMBNAIL
from crossgraph.serve.problems import Problem
from crossgraph.vision.pictures import readable_formats

_SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_LONGEST = 4096  # pixels of a side, where a picture has to be converted


@dataclass(frozen=True)
class PictureFile:
    """A picture, ready to be sent."""

    data: bytes
    media_type: str


def find_picture(library: Library, number: int) -> Picture:
    """Return a picture of the library.

    Raises:
        Problem: 404 where there is none with this id, 410 where it lies nowhere any more.
    """
    found = library.manifest.get([number]).get(number)
    if found is None or found.state != "ready":
        raise Problem(404, f"picture {number} is not in the library", "search again", "picture")
    if not found.paths:
        raise _gone(number)
    return found


def image(picture: Picture, max_megapixels: float) -> PictureFile:
    """Read a picture's file; one that is not upright, or that browsers do not show, is converted.

    Raises:
        Problem: 410 where no file of this content is left, 413 where it is too large to convert.
    """
    data = _content(picture)
    with _opened(picture, data) as opened:
        kind = opened.format or ""
        if kind in _SHOWN and picture.orientation == 1:
            return PictureFile(data, _SHOWN[kind])
        if opened.width * opened.height > max_megapixels * 1e6:
            raise Problem(413, f"picture {picture.id} is too large to be shown", "open its file", "too-large")
        return PictureFile(_converted(opened, _LONGEST, 92), "image/webp")


def thumbnail(library: Library, picture: Picture, max_megapixels: float) -> bytes:
    """Return a picture's thumbnail, a WebP file, made again where it is missing.

    Raises:
        Problem: It is missing, and so is the picture.
    """
    with contextlib.suppress(OSError):
        return library.thumbnail(picture.sha256).read_bytes()
    with _opened(picture, _content(picture)) as opened:
        if opened.width * opened.height > max_megapixels * 1e6:
            raise Problem(410, f"picture {picture.id} has no thumbnail", "run: crossgraph library verify", "broken")
        opened.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
        return _converted(opened, THUMBNAIL, 72)


@contextlib.contextmanager
def _opened(picture: Picture, data: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data), formats=readable_formats()) as opened:
            yield opened
    except Problem:
        raise
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise Problem(410, f"picture {picture.id} can no longer be read", "index its folder again", "broken") from error


def _content(picture: Picture) -> bytes:
    """Return the bytes that were indexed, from whichever copy still has them: no other file is ever sent."""
    for path in picture.paths:
        data = _read(path)
        if data is not None and hashlib.sha256(data).hexdigest() == picture.sha256:
            return data
    raise _gone(picture.id)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def _gone(number: int) -> Problem:
    return Problem(
        410,
        f"picture {number} was moved, changed or deleted since it was indexed",
        "index its folder again: crossgraph index",
        "gone",
    )


def _converted(opened: Image.Image, longest: int, quality: int) -> bytes:
    opened.thumbnail((longest, longest), Image.Resampling.BICUBIC, reducing_gap=2.0)
    upright = ImageOps.exif_transpose(opened)
    shown = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=quality, method=0)
    return file.getvalue()
