"""Loading of pictures in common formats as squares of RGB pixels, with the reason for those that cannot be read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from crossgraph import __version__

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
DEFAULT_MEGAPIXELS = 200.0
HEIF_SUFFIXES = frozenset([".heic", ".heif"])

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def heif_is_read() -> bool:
    """Return whether the extra for HEIC pictures is installed, and register it."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def reader_signature() -> str:
    """Return the versions of this program and its decoders: a broken picture is tried again when they change."""
    heif = importlib.metadata.version("pillow-heif") if importlib.util.find_spec("pillow_heif") else "none"
    return f"crossgraph {__version__}, pillow {PIL.__version__}, heif {heif}"


def readable_formats() -> tuple[str, ...]:
    """Return the formats that can be opened; HEIF too once `heif_is_read` has registered it."""
    return (*FORMATS, "HEIF") if "HEIF" in Image.OPEN else FORMATS


class BrokenPicture(Exception):
    """A picture cannot be read; the message is the reason, in a few words."""


@dataclass(frozen=True)
class LoadedPicture:
    """A picture ready for a region encoder.

    Attributes:
        pixels: RGB, upright, the whole picture squeezed to a square.
        width: The original's width in pixels, after EXIF orientation.
        height: The original's height in pixels, after EXIF orientation.
        sha256: Digest of the file's bytes.
    """

    pixels: UInt8[np.ndarray, "size size 3"]
    width: int
    height: int
    sha256: str


class PictureLoader:
    """Loads pictures; a context manager, since it sets Pillow's size limit and silences its warnings.

    The first frame is taken, EXIF orientation applied, transparency laid on white. 16-bit grey keeps its
    range (the high byte); 32-bit and float grey is stretched from its least to its greatest value. Colour
    profiles are not applied. The square is made by Pillow's bicubic filter (antialiased) or another; a large JPEG is
    first decoded at a half, a quarter or an eighth, never below twice the square.
    Threads may share a loader.

    Args:
        size: Width and height of the square.
        max_megapixels: Larger pictures are refused before they are decoded.
        resampling: The filter that makes the square.
    """

    def __init__(
        self,
        size: int,
        max_megapixels: float = DEFAULT_MEGAPIXELS,
        resampling: Image.Resampling = Image.Resampling.BICUBIC,
    ) -> None:
        self._size = size
        self._resampling = resampling
        self._limit = int(max_megapixels * 1e6)
        self._cap = f"{max_megapixels:g}"
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Set Pillow's limit, process-wide, until the block ends."""
        self._exit.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        self._exit.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = self._limit
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the former limit and warnings."""
        self._exit.close()

    def load(self, path: Path) -> LoadedPicture:
        """Load a picture.

        Raises:
            BrokenPicture: It cannot be read; the message says why.
        """
        if path.suffix.lower() in HEIF_SUFFIXES and not heif_is_read():
            raise BrokenPicture("HEIC is read with: pip install 'crossgraph[heif]'")
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise BrokenPicture("empty file")
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                pixels, width, height = self._read(file)
            return LoadedPicture(pixels, width, height, digest)
        except BrokenPicture:
            raise
        except Exception as error:  # a damaged file makes decoders raise nearly anything
            raise BrokenPicture(self._reason(error)) from error

    def convert(self, image: Image.Image) -> UInt8[np.ndarray, "size size 3"]:
        """Return an open picture in the same form as `load`.

        Raises:
            BrokenPicture: It cannot be decoded; the message says why.
        """
        try:
            turn = _UPRIGHT.get(_orientation(image))
            square = self._square(_eight_bits(image))
            return np.array(square if turn is None else square.transpose(turn))
        except BrokenPicture:
            raise
        except Exception as error:  # as in `load`
            raise BrokenPicture(self._reason(error)) from error

    def _read(self, file: io.BufferedReader) -> tuple[UInt8[np.ndarray, "size size 3"], int, int]:
        with Image.open(file, formats=readable_formats()) as image:
            width, height = image.size
            if width * height > self._limit:
                raise BrokenPicture(self._too_large(f"{width} × {height} = {width * height / 1e6:.0f} megapixels"))
            if isinstance(image, JpegImagePlugin.JpegImageFile):
                image.draft(None, (2 * self._size, 2 * self._size))  # pyright: ignore[reportArgumentType]
            image.load()
            turn = _UPRIGHT.get(_orientation(image))
            square = self._square(_eight_bits(image))
        if turn is not None:
            square = square.transpose(turn)
            if turn in (_UPRIGHT[5], _UPRIGHT[6], _UPRIGHT[7], _UPRIGHT[8]):
                width, height = height, width
        return np.array(square), width, height

    def _square(self, image: Image.Image) -> Image.Image:
        """Return the whole picture squeezed to the square, in RGB."""
        size = (self._size, self._size)
        if not image.has_transparency_data:
            return image.convert("RGB").resize(size, self._resampling, reducing_gap=3.0)
        over = image.convert("RGBA").resize(size, self._resampling)
        return Image.alpha_composite(Image.new("RGBA", size, "white"), over).convert("RGB")

    def _too_large(self, size: str) -> str:
        return f"{size}, more than the {self._cap} allowed (--max-megapixels)"

    def _reason(self, error: Exception) -> str:
        if isinstance(error, UnidentifiedImageError):
            return "not a picture (JPEG, PNG, WebP, GIF, TIFF or BMP)"
        if isinstance(error, Image.DecompressionBombError):
            return self._too_large("too many megapixels")
        if isinstance(error, MemoryError):
            return "not enough memory to decode it"
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno).lower()
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        return "truncated" if "truncated" in reason.lower() else f"damaged ({reason})"


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation still to be applied (Pillow applies a TIFF's by itself), 1 where unknown."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 damaged EXIF is no reason to refuse a picture whose pixels are whole
        return 1
    return value if isinstance(value, int) else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return grey of more than 8 bits as 8 bits without clipping; other pictures unchanged."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float32)
        least, greatest = float(values.min()), float(values.max())
        if not np.isfinite([least, greatest]).all():
            raise BrokenPicture("pixels that are NaN or infinite")
        return Image.fromarray(((values - least) * (255 / max(greatest - least, 1e-30))).astype(np.uint8))
    return image
