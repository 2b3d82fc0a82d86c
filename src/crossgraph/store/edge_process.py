"""A process that holds an Edge shard, seen from its parent; see `crossgraph.store.edge_host`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from crossgraph.core.errors import InputError
from crossgraph.store.place import REBUILD

LOG = "edge.log"
_HOST = Path(__file__).with_name("edge_host.py")
_OPEN: weakref.WeakSet[EdgeProcess] = weakref.WeakSet()


class EdgeEndedError(Exception):
    """The process ended in the midst of a request, or was given up."""


class EdgeProcess:
    """A shard in a process of its own. Requests of several threads are answered one after another.

    Args:
        path: The shard's folder.

    Raises:
        InputError: Edge is not installed.
    """

    def __init__(self, path: Path) -> None:
        if find_spec("qdrant_edge") is None:
            raise InputError("the engine 'edge' is not installed", "pip install 'crossgraph[search]'")
        self.path = path
        ours, theirs = socket.socketpair()
        with theirs, _log(path.parent / LOG) as log:
            line = [sys.executable, "-P", str(_HOST), str(theirs.fileno()), str(path)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
            self._process = subprocess.Popen(
                line,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                process_group=0,
            )
        self._connection = Connection(ours.detach())
        self._guard = threading.Lock()
        self._number = 0
        _OPEN.add(self)

    def ask(self, name: str, *arguments: object, asked: Callable[[], None] | None = None) -> object:
        """Send a request and wait for its answer.

        Args:
            name: A method of `crossgraph.store.edge_host.Host`.
            arguments: What it takes.
            asked: Called about twice a second while waiting; what it raises ends the waiting.

        Raises:
            InputError: Edge refused; the message says why.
            EdgeEndedError: The process ended; or the waiting was ended, which gives the process up.
        """
        with self._guard:
            try:
                self._number += 1
                self._connection.send((self._number, name, arguments))
                while asked is not None and not self._connection.poll(0.5):
                    asked()
                _, well, answer = self._connection.recv()
            except (OSError, EOFError) as error:
                raise EdgeEndedError(self._ending()) from error
            except BaseException:  # an answer may still come, which no later request must take for its own
                self._connection.close()
                raise
        if not well:
            raise _refusal(self.path, " ".join(str(answer).split()))
        return answer

    def _ending(self) -> str:
        """Tell how the process ended."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "given up"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def end(self, patience: float = 60.0) -> None:
        """Let the process flush and end; after some seconds it is killed."""
        with self._guard:
            self._connection.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process now; what it had not flushed is in its log on disk."""
        self._process.kill()
        self._process.wait()
        with self._guard:
            self._connection.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def forget(self) -> None:
        """Let go of the connection alone: in a forked process nothing else is ours."""
        self._connection.close()


def _refusal(path: Path, message: str) -> InputError:
    if "os error 28" in message or "No space left" in message:
        return InputError(f"{path}: no room left", "free some disk space and run the same command again")
    return InputError(f"{path}: {message}", REBUILD)


def _log(path: Path) -> IO[bytes]:
    """Open the file that takes what Edge says of its own accord, which is nothing unless it panics."""
    try:
        return path.open("ab")
    except OSError:
        return Path(os.devnull).open("ab")


def _forget_all() -> None:
    for process in list(_OPEN):
        process.forget()


os.register_at_fork(after_in_child=_forget_all)
