"""Read rows of `.npy` files, checked before they are used.

33 GB of features must never be read whole: every call reads its rows alone, and a copy sent to a loader's worker
carries the path.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crossgraph.core.errors import InputError

_REMEDY = "the file is damaged or half copied; copy or make it again"
_HEAD = 1 << 16
_SAMPLE = 1 << 12
_SAMPLES = 64


class MappedArray:
    """One `.npy` file of numbers whose first axis counts rows.

    Args:
        path: The file.
        axes: Names of its axes, for messages: ("pictures", "regions", "feature size").
        kinds: NumPy's letters of the kinds of number that it may hold; floats by default.

    Attributes:
        shape: Its shape, from the header.

    Raises:
        InputError: It is missing, a folder, not `.npy`, of another number of axes, of another kind of
            number, empty, or shorter than its header says.
    """

    def __init__(self, path: Path, axes: Sequence[str], kinds: str = "f") -> None:
        self.path = Path(path)
        self.shape, self.dtype, self._fortran, self._offset = read_header(self.path, kinds)
        if len(self.shape) != len(axes):
            given = " × ".join(map(str, self.shape)) or "a single number"
            expected = f"{len(axes)} axes expected ({', '.join(axes)})"
            raise InputError(f"{path}: its shape is {given}, {expected}", "check which file this is")
        if 0 in self.shape:
            raise InputError(f"{path}: holds nothing (shape {self.shape})", "make it again")

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def rows(self, rows: Sequence[int] | np.ndarray, name: Callable[[int], str] | None = None) -> np.ndarray:
        """Read rows in the given order, as float32.

        Args:
            rows: Their numbers.
            name: Returns the name of the i-th of them, for messages about bad values.

        Raises:
            InputError: A value is NaN or infinite (in float32); the row is named.
            IndexError: A row is beyond the file.
        """
        rows = np.asarray(rows, dtype=np.int64)
        values = self.unchecked(rows)
        with np.errstate(invalid="ignore"):
            total = values.sum(dtype=np.float64)  # NaN and infinity survive a sum; 64 bits cannot overflow here
        if not np.isfinite(total):
            bad = int(np.flatnonzero(~np.isfinite(values.reshape(len(rows), -1)).all(axis=1))[0])
            row_name = name(bad) if name else f"row {rows[bad]}"
            raise InputError(f"{self.path}: {row_name} holds NaN or infinite values", "make these features again")
        return values

    def unchecked(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Read rows in the given order, as float32, whatever they hold.

        Raises:
            InputError: The file is gone, or has become shorter.
            IndexError: A row is beyond the file.
        """
        rows = np.asarray(rows, dtype=np.int64)
        values = self._map()[rows] if self._fortran or not hasattr(os, "preadv") else self._read(rows)
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype=np.float32)

    def _map(self) -> np.memmap:
        order = "F" if self._fortran else "C"
        try:
            return np.memmap(self.path, self.dtype, "r", self._offset, self.shape, order=order)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: cannot be opened ({error})", _REMEDY) from error

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Read rows by system calls: where the pages are not in memory yet, ten times faster than through a map."""
        if len(rows) and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{self.path}: rows {rows.min()} to {rows.max()} of {len(self)}")
        values = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        into = values.reshape(len(rows), size // self.dtype.itemsize).view(np.uint8)
        try:
            file = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be opened ({error})", _REMEDY) from error
        try:
            for i, row in enumerate(rows.tolist()):
                done, start = 0, self._offset + (row % len(self)) * size
                while done < size:
                    count = os.preadv(file, [into[i].data[done:]], start + done)
                    if not count:
                        raise InputError(f"{self.path}: truncated, row {row} is beyond its end", _REMEDY)
                    done += count
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error})", _REMEDY) from error
        finally:
            os.close(file)
        return values

    def fingerprint(self) -> str:
        """Return a digest of size, header, ends and 64 samples spread over the file: cheap at any size."""
        return sample_digest(self.path)


def read_header(path: Path, kinds: str = "f") -> tuple[tuple[int, ...], np.dtype, bool, int]:
    """Read shape, dtype, Fortran order and data offset of a `.npy` file, and check its size against them.

    Raises:
        InputError: See `MappedArray`.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python 2 wrote
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
        raise InputError(f"{path}: not a NumPy .npy file", _REMEDY) from error
    if dtype.kind not in kinds:
        held = "Python objects" if dtype.hasobject else str(dtype)
        raise InputError(f"{path}: holds {held}, not plain numbers of the right kind", "save it as float32")
    expected = offset + math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or size < expected:
        raise InputError(f"{path}: truncated, {size:,} bytes of the {expected:,} its header promises", _REMEDY)
    return tuple(shape), dtype, fortran, offset


def sample_digest(path: Path) -> str:
    """Return a digest of a file's size, ends and 64 samples between them.

    Raises:
        InputError: The file is gone.
    """
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            digest.update(file.read(_HEAD))
            for start in np.linspace(0, max(0, size - _SAMPLE), _SAMPLES).astype(int):
                file.seek(int(start))
                digest.update(file.read(_SAMPLE))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})", "check the path") from error
    return digest.hexdigest()
