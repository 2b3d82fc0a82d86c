"""The lock that lets one process at a time write to a library."""

from __future__ import annotations

import contextlib
from pathlib import Path

from crossgraph.locks import lock_folder


def writing(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Return a context manager that keeps other writers out of a library.

    Raises:
        InputError: On entry: another process writes there, or the folder cannot be written.
    """
    return lock_folder(folder / "library.lock", "another process writes to this library")
