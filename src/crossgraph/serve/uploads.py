"""Uploaded pictures to search by: checked, encoded to regions once, cached for ten minutes."""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections import OrderedDict

import torch
from PIL import Image

from crossgraph.core.types import Regions
from crossgraph.library.photo import read_photo
from crossgraph.serve.problems import Problem
from crossgraph.vision.pictures import BrokenPicture, readable_formats
from crossgraph.vision.region_encoder import RegionEncoder, picture_loader

CACHE_SECONDS = 600.0
_MOST = 64  # cached uploads, about 0.3 MB each


class Uploads:
    """Regions of uploaded pictures, by a name that cannot be guessed."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._cached: OrderedDict[str, tuple[float, Regions]] = OrderedDict()

    def add(self, regions: Regions) -> str:
        """Cache a picture's regions; return its name."""
        name = secrets.token_urlsafe(16)
        with self._guard:
            self._cached[name] = (time.monotonic() + CACHE_SECONDS, regions)
            while len(self._cached) > _MOST or next(iter(self._cached.values()))[0] < time.monotonic():
                self._cached.popitem(last=False)
        return name

    def get(self, name: str) -> Regions:
        """Return the regions of an upload.

        Raises:
            Problem: There is no such upload any more.
        """
        with self._guard:
            until, regions = self._cached.get(name, (0.0, None))
        if regions is None or until < time.monotonic():
            raise Problem(404, "this picture is no longer at hand", "send it again", "upload")
        return regions


def check_picture(data: bytes, max_megapixels: float) -> None:
    """Check the header of an upload before it is decoded.

    Raises:
        Problem: It is no picture, or a larger one than is decoded.
    """
    if not data:
        raise Problem(422, "the upload is empty", "send a picture (JPEG, PNG, WebP, GIF, TIFF or BMP)", "picture")
    try:
        with Image.open(io.BytesIO(data), formats=readable_formats()) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise Problem(413, "the picture has too many pixels", "send a smaller one", "too-large") from error
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise _no_picture("not a picture") from error
    if width * height > max_megapixels * 1e6:
        size = f"{width} × {height} = {width * height / 1e6:.0f} megapixels"
        raise Problem(
            413,
            f"the picture has {size}, more than the {max_megapixels:g} allowed",
            "send a smaller one, or start the server with a larger --max-megapixels",
            "too-large",
        )


def _no_picture(reason: str) -> Problem:
    return Problem(
        422, f"the upload: {reason}", "send a picture that opens (JPEG, PNG, WebP, GIF, TIFF or BMP)", "picture"
    )


def read_upload(data: bytes, encoder: RegionEncoder, max_megapixels: float) -> Regions:
    """Return the regions of an upload.

    Raises:
        Problem: It is no picture, damaged, or too large.
    """
    check_picture(data, max_megapixels)
    try:
        with picture_loader(encoder, max_megapixels) as loader:
            photo = read_photo(data, loader, encoder.image_size, max_megapixels)
    except BrokenPicture as reason:
        raise _no_picture(str(reason)) from reason
    return encoder.encode(torch.from_numpy(photo.pixels[None]))
