"""Reads region features and boxes of one picture from .npy files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from crossgraph.core.errors import InputError


def read_features(path: Path, row: int = 0) -> Float[np.ndarray, "region feature"]:
    """Return one picture's region features.

    Args:
        path: .npy of (regions, D), or (pictures, regions, D).
        row: Which picture, where there are several.

    Raises:
        InputError: The file is missing or holds something else, or has no such picture.
    """
    return _picture_row(_load(path, "--features", "(regions, D)"), path, row, "(regions, D) or (pictures, regions, D)")


def read_boxes(path: Path, row: int, regions: int) -> Float[np.ndarray, "region 4"]:
    """Return one picture's boxes.

    Args:
        path: .npy of (regions, 4), or (pictures, regions, 4): left, top, right, bottom from 0 to 1.
        row: Which picture, where there are several.
        regions: How many there must be.

    Raises:
        InputError: The file is missing or holds something else.
    """
    loaded = _load(path, "--boxes", "(regions, 4)")
    boxes = _picture_row(loaded, path, 0 if loaded.ndim == 2 else row, "(regions, 4) or (pictures, regions, 4)")
    if boxes.shape != (regions, 4):
        raise InputError(f"{path}: boxes of shape {boxes.shape}", f"give one a region: ({regions}, 4)")
    if not np.isfinite(boxes).all() or boxes.min(initial=0) < 0 or (boxes[:, :2] > boxes[:, 2:]).any():
        raise InputError(f"{path}: not left, top, right, bottom of boxes", "give them as shares of width and height")
    if boxes.max(initial=0) > 1:
        raise InputError(
            f"{path}: holds {boxes.max():g}, so these are pixels", "divide them by the picture's width and height"
        )
    return boxes.astype(np.float32)


def _load(path: Path, option: str, shape: str) -> np.ndarray:
    remedy = f"{option} takes a .npy of real numbers {shape}"
    if path.is_dir():
        raise InputError(f"{path}: is a folder", remedy)
    try:
        loaded: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", remedy) from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "truncated, or no .npy"
        raise InputError(f"{path}: cannot be read ({reason})", remedy) from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: no .npy of numbers, or truncated", remedy) from error
    array = np.asarray(loaded)  # an .npz is no array of numbers either
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds no real numbers", remedy)
    return array


def _picture_row(array: np.ndarray, path: Path, row: int, shape: str) -> np.ndarray:
    if array.ndim == 2:
        if row != 0:
            raise InputError(f"--row {row}: {path} holds one picture", "leave --row out")
        return np.array(array)
    if array.ndim != 3:
        raise InputError(f"{path}: of shape {array.shape}", f"give {shape}")
    if not len(array):
        raise InputError(f"{path}: holds no picture", f"give {shape}")
    if not 0 <= row < len(array):
        raise InputError(f"--row {row}: {path} holds {len(array):,} pictures", f"give 0 to {len(array) - 1}")
    return np.array(array[row])
