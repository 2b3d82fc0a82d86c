"""Write `server.json` into the library's folder, by which this user's other commands find the server.

It holds a token of its own, so only its owner may read the file: whoever can, could read the library itself. It also
names the folder that it was written for, so that a copy of the library does not lead to the original's server.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

FILE = "server.json"


def folder_identity(folder: Path) -> dict[str, str | int]:
    """Return the real path, device and inode of a folder: a copied or moved folder differs in one of them.

    Raises:
        OSError: The folder cannot be read.
    """
    status = folder.stat()
    return {"path": str(folder.resolve()), "device": status.st_dev, "inode": status.st_ino}


def announce(folder: Path, address: str, instance: str, token: str) -> None:
    """Write `server.json`; a library that cannot be written is served without."""
    note: dict[str, object] = {"address": address, "pid": os.getpid(), "instance": instance, "token": token}
    with contextlib.suppress(OSError):
        note["folder"] = folder_identity(folder)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE}.", suffix=".tmp")  # readable by its owner alone
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(note, file)
        Path(name).replace(folder / FILE)


def withdraw(folder: Path, instance: str) -> None:
    """Delete `server.json`, unless another server has written its own."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if json.loads((folder / FILE).read_text(encoding="utf-8")).get("instance") == instance:
            (folder / FILE).unlink()
