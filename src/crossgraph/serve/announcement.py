"""A note in the library's folder that tells this user's other commands where the server is.

It holds a token of its own, so only its owner may read the file: whoever can, could read the library itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

FILE = "server.json"


def announce(folder: Path, address: str, instance: str, token: str) -> None:
    """Write the note; a library that cannot be written is served without."""
    note = {"address": address, "pid": os.getpid(), "instance": instance, "token": token}
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}.", suffix=".tmp")  # readable by its owner alone
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(note, file)
        Path(name).replace(folder / FILE)


def withdraw(folder: Path, instance: str) -> None:
    """Take the note back, unless another server has put up its own."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if json.loads((folder / FILE).read_text(encoding="utf-8")).get("instance") == instance:
            (folder / FILE).unlink()
