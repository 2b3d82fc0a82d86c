"""`.npy` files read by row through a memory map, checked before they are believed.

33 GB of features must never be read whole: each process opens its own map at its first read, and a
copy sent to a loader's worker carries the path, not the map.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crossgraph.core.errors import InputError

_AGAIN = "the file is damaged or half copied; copy or make it again"
_ALWAYS_CHECKED = 1 << 16


class MappedArray:
    """One `.npy` file of floats whose first axis counts rows.

    Args:
        path: The file.
        axes: What its axes are, for messages: ("pictures", "regions", "feature size").

    Attributes:
        shape: Its shape, from the header.

    Raises:
        InputError: It is missing, a folder, not `.npy`, of another number of axes, not of floats, empty,
            or shorter than its header says.
    """

    def __init__(
        self,
        path: Path,
        axes: Sequence[str],
        row_name: Callable[[int], str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._row_name = row_name
        self.shape, self.dtype, self._fortran, self._offset = read_header(self.path)
        if len(self.shape) != len(axes):
            given = " × ".join(map(str, self.shape)) or "a single number"
            raise InputError(
                f"{path}: {given}, {len(axes)} axes expected ({', '.join(axes)})",
                "check which file this is",
            )
        if 0 in self.shape:
            raise InputError(f"{path}: holds nothing (shape {self.shape})", "make it again")
        self._map: np.memmap | None = None
        self._process = -1

    def rows(self, rows: Sequence[int] | np.ndarray, name: Callable[[int], str] | None = None) -> np.ndarray:
        """Read rows in the given order, as float32.

        Args:
            rows: Which.
            name: Names the i-th of them in messages about bad values.

        Raises:
            InputError: A value is NaN or infinite (in float32); the row is named.
            IndexError: A row is beyond the file.
        """
        rows = np.asarray(rows, dtype=np.int64)
        with np.errstate(over="ignore"):
            values = np.asarray(self._open()[rows], dtype=np.float32)
        if not np.isfinite(values.sum(dtype=np.float64)):
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(rows), -1)).all(axis=1))
            if len(bad):
                what = name(int(bad[0])) if name else f"row {rows[bad[0]]}"
                raise InputError(
                    f"{self.path}: {what} holds NaN or infinite values",
                    "make these features again",
                )
        return values

    def fingerprint(self) -> str:
        """Return a digest of size, header, ends and 64 samples spread over the file: cheap at any size."""
        digest = hashlib.sha256()
        size = self.path.stat().st_size
        digest.update(str(size).encode())
        with self.path.open("rb") as file:
            for start in [
                0,
                *np.linspace(0, max(0, size - _ALWAYS_CHECKED), 66).astype(int),
            ]:
                file.seek(int(start))
                digest.update(file.read(_ALWAYS_CHECKED if start == 0 else 4096))
            file.seek(max(0, size - _ALWAYS_CHECKED))
            digest.update(file.read())
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, object]:
        """Pickle without the open map."""
        return {**self.__dict__, "_map": None}

    def _open(self) -> np.memmap:
        if self._map is None or self._process != os.getpid():
            try:
                self._map = np.memmap(
                    self.path,
                    self.dtype,
                    "r",
                    self._offset,
                    self.shape,
                    order="F" if self._fortran else "C",
                )
            except (OSError, ValueError) as error:
                raise InputError(f"{self.path}: cannot be opened ({error})", _AGAIN) from error
            self._process = os.getpid()
        return self._map


def read_header(path: Path) -> tuple[tuple[int, ...], np.dtype, bool, int]:
    """Read shape, dtype, Fortran order and data offset of a `.npy` file, and check its size against them.

    Raises:
        InputError: See `MappedArray`.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = reader(file)
            offset = file.tell()
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", "check the path") from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise InputError(f"{path}: cannot be read ({reason})", "check the path and its permissions") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a NumPy .npy file", _AGAIN) from error
    if dtype.kind != "f":
        raise InputError(
            f"{path}: holds {dtype}, not floating-point numbers",
            "save it as float32 or float16",
        )
    expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size < expected:
        raise InputError(
            f"{path}: truncated, {size:,} bytes of the {expected:,} its header promises",
            _AGAIN,
        )
    return tuple(shape), dtype, fortran, offset
