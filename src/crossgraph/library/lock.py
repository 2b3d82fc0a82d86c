"""One writer at a time: a lock of the operating system, which a kill releases at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.files import unwritable


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Keep other writers out of a library while the block runs.

    Raises:
        InputError: Another process writes there, or the folder cannot be written.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "library.lock").open("a+", encoding="ascii")
    except OSError as error:
        raise unwritable(folder / "library.lock", error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise InputError(
                f"{folder}: another process writes to this library (process {owner})", "wait for it or stop it"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
