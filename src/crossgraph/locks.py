"""Exclusive locks on files and folders, which the operating system releases when their process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.files import unwritable

if sys.platform != "win32":
    import fcntl

_POLL = 0.02  # seconds between two attempts
_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """An exclusive lock on a file, held until `release` or the end of this process, however it ends.

    The lock conflicts with every other `FileLock` of that file, also of this process. A forked child loses its copy:
    otherwise a worker that outlives its killed parent would keep the lock. The file's text is only for people.

    Args:
        path: The lock file; made when missing, with its folder.
        keep_waiting: Called after each failed attempt; whether to try again.
        required: Whether a system or disk that cannot lock is an error; else the user takes care.

    Raises:
        BlockingIOError: Another holds it.
        InputError: The file cannot be made or locked.
    """

    def __init__(self, path: Path, keep_waiting: Callable[[], bool] = lambda: False, required: bool = True) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise unwritable(path.parent, error) from error
        try:
            self._acquire(keep_waiting, required)
        except BaseException:
            os.close(self._descriptor)
            raise
        _HELD.add(self)

    def _acquire(self, keep_waiting: Callable[[], bool], required: bool) -> None:
        if sys.platform == "win32":
            if required:
                raise InputError(f"{self.path.parent}: this system cannot lock files", "use Linux or macOS")
            return
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not keep_waiting():
                    raise
                time.sleep(_POLL)
            except OSError as error:
                if required:
                    raise unwritable(self.path.parent, error) from error
                return

    @property
    def held(self) -> bool:
        """Whether this process holds the lock: not once released, nor in a forked child."""
        return self._descriptor >= 0

    def read(self) -> str:
        """Return the file's text."""
        return os.pread(self._descriptor, 1 << 16, 0).decode("utf-8", "replace")

    def write(self, text: str) -> None:
        """Replace the file's text."""
        # Cut after it is written: of a text of the same length, a kill in between loses nothing.
        data = text.encode("utf-8", "replace")
        os.pwrite(self._descriptor, data, 0)
        os.ftruncate(self._descriptor, len(data))

    def release(self) -> None:
        """Let others take the lock; a second call does nothing."""
        # Unlocked explicitly: a program that another thread is just starting still has a copy of the descriptor.
        if sys.platform != "win32" and self.held:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close this process's descriptor; in a forked child that leaves the parent's lock alone."""
        if self.held:
            os.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def lock_folder(path: Path, conflict: str) -> Iterator[None]:
    """Hold a folder's lock file while the block runs; the file names this process.

    Args:
        path: The lock file in the folder.
        conflict: What another holder does, for the message: "another training writes here".

    Raises:
        InputError: Another process holds it, or the folder cannot be written.
    """
    try:
        lock = FileLock(path)
    except BlockingIOError as error:
        owner = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
        raise InputError(f"{path.parent}: {conflict} (process {owner})", "wait for it or stop it") from error
    try:
        lock.write(str(os.getpid()))
        yield
    finally:
        lock.release()


def _forget_all() -> None:
    for lock in list(_HELD):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
