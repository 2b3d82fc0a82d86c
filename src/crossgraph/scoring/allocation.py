"""Memory of long jobs: what is large lies in nameless files, what was freed goes back to the system.

A file's pages are the system's to keep or to drop; a program that lets go of them counts as having them no longer, and
finds them again at the next touch. Where the folder of temporary files lies in memory itself, that saves nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import tempfile
from typing import cast

import numpy as np
from jaxtyping import Float32, UInt8

from crossgraph.core.errors import InputError
from crossgraph.files import reserve

MATRIX_BYTES = 1 << 28  # a larger matrix lies in a file, not in memory


def empty_matrix(shape: tuple[int, int]) -> Float32[np.ndarray, "img txt"]:
    """Return a matrix to be filled: in memory, or where it is large in a file that vanishes with it.

    Raises:
        InputError: The folder of temporary files has no room for it, or cannot be written.
    """
    size = 4 * shape[0] * shape[1]
    if size <= MATRIX_BYTES:
        return np.empty(shape, dtype=np.float32)
    return in_file(size, f"{shape[0]:,} × {shape[1]:,} scores").view(np.float32).reshape(shape)


def in_file(size: int, what: str) -> UInt8[np.ndarray, " byte"]:
    """Return room in a file that vanishes with it.

    Args:
        size: Bytes, at least one.
        what: What it is for, in words.

    Raises:
        InputError: The folder of temporary files has no such room, or cannot be written.
    """
    try:
        with tempfile.TemporaryFile(prefix="crossgraph-") as file:
            reserve(file, size)  # to write to a map of a full disk would end the program without a word
            return np.memmap(file, np.uint8, "w+", shape=(size,))
    except OSError as error:
        where = tempfile.tempdir or "temporary files"  # no folder is known where none can be written
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        problem = f"{where}: cannot hold {what} ({size:,} bytes): {why}"
        remedy = "free some space, or name a folder with more in TMPDIR"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = "allow more open files, for example with: ulimit -n 4096"
        raise InputError(problem, remedy) from error


def let_go(array: np.ndarray) -> None:
    """Hand back the memory of what lies in a file, or of the whole that it is a view of; what lies in memory stays.

    Args:
        array: As `empty_matrix` or `in_file` made it; changes to a private map (of mode "c") would be lost.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = cast("object", base.base)  # NumPy's stubs know no base but arrays
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def give_back() -> None:
    """Hand freed memory back.

    The C library keeps what threads have freed in a pool a thread, each as large as it once was; what the next phase
    takes comes on top of it. Other libraries than glibc are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
