"""The folder of a store on disk: its marker file, and the lock of the process that owns it.

`store.json` names engine, vector size and the engine's data; `owner.lock` is held by the one process that
has the store open. The system takes a lock back when its process ends, however it ends, so a lock left by
one that was killed is simply taken over; what the file says is only for people.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from crossgraph.core.errors import InputError
from crossgraph.files import read_json, write_json
from crossgraph.locks import FileLock

MARKER = "store.json"
LOCK = "owner.lock"
FORMAT = 1
REBUILD = "make it again with `crossgraph library rebuild`"
_PATIENCE = 2.0  # seconds that a store may take to be let go by a process that is ending


@dataclass(frozen=True)
class Owner:
    """The process that has a store open.

    Attributes:
        pid: Its number.
        command: Its command line.
        address: Where it answers over HTTP, or empty.
    """

    pid: int
    command: str
    address: str = ""


class OwnedError(InputError):
    """A store is open in another process, or twice in this one.

    Args:
        folder: The store.
        owner: Who has it open; None where the lock file does not say.
    """

    def __init__(self, folder: Path, owner: Owner | None) -> None:
        self.folder = folder
        self.owner = owner
        whose = "another process"
        if owner is not None:
            whose = "this process" if owner.pid == os.getpid() else f"process {owner.pid} ({owner.command})"
        remedy = f"ask it at {owner.address}, or stop it" if owner and owner.address else "wait for it, or stop it"
        super().__init__(f"{folder}: this store is open in {whose}, and has one owner at a time", remedy)

    def __reduce__(self) -> tuple[type[InputError], tuple[object, ...]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Survive the trip between processes."""
        return type(self), (self.folder, self.owner)


class StoreFolder:
    """A store's folder, owned until `close`.

    Args:
        path: The folder; made when missing.
        engine: The engine that opens it.
        size: Values in an index vector.

    Raises:
        InputError: It belongs to another process, engine or vector size, or cannot be written.
    """

    def __init__(self, path: Path, engine: str, size: int) -> None:
        self.path = path
        self._engine = engine
        self._size = size
        self._lock = self._take()
        try:
            self.announce("")
            self.data = self._read()
        except BaseException:
            self._lock.release()
            raise

    def _take(self) -> FileLock:
        until = time.monotonic() + _PATIENCE

        def owner_is_ending() -> bool:
            owner = read_owner(self.path)
            return time.monotonic() < until and (owner is None or not _alive(owner.pid))

        try:
            return FileLock(self.path / LOCK, owner_is_ending)
        except BlockingIOError:
            raise OwnedError(self.path, read_owner(self.path)) from None

    def announce(self, address: str) -> None:
        """Tell other processes where this one answers over HTTP."""
        text = json.dumps(asdict(Owner(os.getpid(), " ".join(sys.argv)[:200] or "python", address)))
        self._lock.write(text)

    def _read(self) -> str:
        marker = self.path / MARKER
        if not marker.exists():
            return ""
        found = read_json(marker, REBUILD)
        known = cast(dict[str, object], found) if isinstance(found, dict) else {}
        if known.get("format") != FORMAT:
            raise InputError(f"{marker}: format {known.get('format')}, this version reads {FORMAT}", REBUILD)
        if known.get("engine") != self._engine:
            remedy = f"open it with --store {known.get('engine')}, or {REBUILD}"
            raise InputError(
                f"{self.path}: a store of the engine '{known.get('engine')}', not '{self._engine}'", remedy
            )
        if known.get("size") != self._size:
            held = f"holds index vectors of {known.get('size')} values, {self._size} are asked for"
            raise InputError(f"{self.path}: {held}", f"open it with the model that filled it, or {REBUILD}")
        return str(known.get("data", ""))

    def point_to(self, data: str) -> None:
        """Name the engine's data, whole or not at all: what was named before counts until now."""
        write_json(self.path / MARKER, {"format": FORMAT, "engine": self._engine, "size": self._size, "data": data})
        self.data = data

    def close(self) -> None:
        """Release the folder; a second call does nothing."""
        if self._lock.held:
            self._lock.write("")
            self._lock.release()


def read_owner(folder: Path) -> Owner | None:
    """Return the process that has the store in a folder open; None where none has, or it is unknown."""
    try:
        read = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        return Owner(int(read["pid"]), str(read["command"]), str(read["address"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
