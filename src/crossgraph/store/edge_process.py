"""Start the process of an Edge shard and send it requests; see `crossgraph.store.edge_host`."""

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
from crossgraph.store.folder import REBUILD

LOG = "edge.log"
_HOST = Path(__file__).with_name("edge_host.py")
_OPEN: weakref.WeakSet[EdgeProcess] = weakref.WeakSet()


class EdgeEndedError(Exception):
    """The process ended during a request, or was abandoned."""


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
        # A socket and not a pipe of `multiprocessing`: its fork would copy all threads' locks, its spawn would run the
        # caller's main module again. The child's end is closed here at once, so that the child reads the end of the
        # stream when this process ends, however it ends.
        ours, theirs = socket.socketpair()
        with theirs, _log(path.parent / LOG) as log:
            line = [sys.executable, "-P", str(_HOST), str(theirs.fileno()), str(path)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            self._process = subprocess.Popen(
                line,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                process_group=0,  # so that Ctrl-C does not end it before it has flushed
            )
        self._connection = Connection(ours.detach())
        self._guard = threading.Lock()
        self._number = 0
        _OPEN.add(self)

    def ask(self, name: str, *arguments: object, while_waiting: Callable[[], None] | None = None) -> object:
        """Send a request and wait for its answer.

        Args:
            name: A method of `crossgraph.store.edge_host.Host`.
            arguments: What it takes.
            while_waiting: Called about twice a second until the answer comes; what it raises ends the wait.

        Raises:
            InputError: Edge refused; the message says why.
            EdgeEndedError: The process ended, or was abandoned by an interrupted wait.
        """
        with self._guard:
            try:
                self._number += 1
                self._connection.send((self._number, name, arguments))
                while while_waiting is not None and not self._connection.poll(0.5):
                    while_waiting()
                _, well, answer = self._connection.recv()
            except (OSError, EOFError) as error:
                raise EdgeEndedError(self._ending()) from error
            except BaseException:
                # The answer may still come, and the next request would take it for its own: no further ones.
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
            return "abandoned"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def end(self, patience: float = 60.0) -> None:
        """Close the connection, at which the process flushes and ends; kill it when its time is up."""
        with self._guard:
            self._connection.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process; what it had not flushed is in its write-ahead log."""
        self._process.kill()
        self._process.wait()
        with self._guard:
            self._connection.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def forget(self) -> None:
        """Close the connection alone: in a forked process the rest belongs to the parent."""
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


# A forked worker inherits the parent's end of the socket. With that copy open, the host would not see the end of the
# stream when the parent dies, and would keep the shard locked.
os.register_at_fork(after_in_child=_forget_all)
