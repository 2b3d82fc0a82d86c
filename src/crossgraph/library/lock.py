"""Locks a library, so that one process at a time writes to it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.locks import lock_folder


def write_lock(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Return a context manager that keeps other writers out of a library.

    Raises:
        InputError: On entry: another process writes there, or the folder cannot be written.
    """
    if not os.access(folder, os.W_OK):
        raise InputError(
            f"{folder}: the library cannot be written here, only searched",
            "copy the folder to a disk that can be written, and name it by --library",
        )
    return lock_folder(folder / "library.lock", "another process writes to this library")
