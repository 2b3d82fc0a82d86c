"""Find pictures that look alike, which must not be in different splits.

A picture's difference hash holds, for a 9 × 9 thumbnail in grey, whether each pixel is brighter than its
right and than its lower neighbour: 128 bits that resizing, recompressing and small edits hardly change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from crossgraph.progress import ProgressDisplay

if TYPE_CHECKING:
    from PIL import Image

BITS = 128
NEAR = 11
"""Pictures are alike when at most this many bits differ; resizing and recompressing change about 4."""

_BANDS = NEAR + 1  # with so many bands and at most NEAR differing bits, one band is equal
_FLAT = 8  # of 256 shades
_ONES = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)


def group_alike(hashes: Sequence[bytes | None], near: int = NEAR, contents: Sequence[str] = ()) -> list[int]:
    """Return the group of every picture: the number of the first one that it is alike to, directly or by others.

    Args:
        hashes: `difference_hash` of every picture; None where unknown.
        near: Bits that may differ, at most `NEAR`.
        contents: For every picture what only an equal picture shares, or "" where unknown; none are compared if empty.
    """
    roots = list(range(len(hashes)))

    def root(row: int) -> int:
        while roots[row] != row:
            roots[row] = roots[roots[row]]
            row = roots[row]
        return row

    def join(first: int, second: int) -> None:
        low, high = sorted((root(first), root(second)))
        roots[high] = low

    with_content: dict[str, int] = {}
    for row, content in enumerate(contents):
        if content:
            join(row, with_content.setdefault(content, row))
    known = np.array([row for row, value in enumerate(hashes) if value is not None], dtype=np.int64)
    codes = np.frombuffer(b"".join(value for value in hashes if value is not None), np.uint8).reshape(-1, BITS // 8)
    with ProgressDisplay() as display:
        for first, second in _close(codes, near, display):
            join(int(known[first]), int(known[second]))
    return [root(row) for row in range(len(roots))]


def difference_hashes(paths: Sequence[Path | None]) -> list[bytes | None]:
    """Hash pictures; None for those without a path, that cannot be read, or are too flat to be told apart."""
    hashes: list[bytes | None] = []
    with ProgressDisplay() as display:
        for done, path in enumerate(paths):
            display.update("comparing pictures", done, len(paths))
            hashes.append(None if path is None else difference_hash(path))
    return hashes


def difference_hash(path: Path) -> bytes | None:
    """Return 16 bytes that alike pictures share but for a few bits, or None: unreadable, or nearly one colour."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                picture.draft("L", (128, 128))
                return hash_picture(picture)
    except Exception:  # noqa: BLE001 whatever a broken file makes the decoder raise: it has no hash
        return None


def hash_picture(picture: Image.Image) -> bytes | None:
    """Return an open picture's difference hash, or None where it is nearly one colour."""
    from PIL import Image

    grey = picture.convert("L").resize((9, 9), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.int16)
    if values.max() - values.min() < _FLAT:
        return None
    right, below = values[:8, 1:] > values[:8, :8], values[1:, :8] > values[:8, :8]
    return np.packbits(np.concatenate([right.ravel(), below.ravel()])).tobytes()


def _close(codes: UInt8[np.ndarray, "picture byte"], near: int, display: ProgressDisplay) -> Iterator[tuple[int, int]]:
    """Yield pairs at most `near` bits apart; each pair meets in a band where both are equal."""
    seen = 0
    for band in np.array_split(codes, _BANDS, axis=1):
        keys = np.ascontiguousarray(band).view(f"V{band.shape[1]}").ravel()
        _, inverse = np.unique(keys, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.flatnonzero(np.diff(inverse[order])) + 1
        for bucket in np.split(order, bounds):
            seen += len(bucket)
            display.update("finding near-duplicates", seen, len(codes) * _BANDS)
            for i in range(len(bucket) - 1):
                rest = bucket[i + 1 :]
                distance = _ONES[codes[rest] ^ codes[bucket[i]]].sum(axis=1, dtype=np.int64)
                for other in rest[distance <= near]:
                    yield int(bucket[i]), int(other)
