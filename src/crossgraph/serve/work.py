"""Run tasks in threads with a short queue; tasks whose client has gone are dropped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from crossgraph.serve.problems import CLIENT_GONE, Problem

T = TypeVar("T")


class Workers:
    """A pool of threads with a short queue.

    Args:
        threads: That work at a time.
        waiting: Tasks that may wait; more are refused.
        timeout: Seconds after which a task is refused as too slow.
        name: Of the threads.
        prepare: Called once in every thread.
    """

    def __init__(
        self, threads: int, waiting: int, timeout: float, name: str, prepare: Callable[[], None] | None = None
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, name, prepare or (lambda: None))
        self._most = threads + waiting
        self._timeout = timeout
        self._guard = threading.Lock()
        self._taken = 0
        self.refused = 0

    @property
    def taken(self) -> int:
        """Tasks that are worked on or wait."""
        return self._taken

    async def run(self, request: Request, task: Callable[[], T]) -> T:
        """Run a task for a request whose body has been read.

        Raises:
            Problem: 429 where too many wait, 503 where it takes too long, 499 where the client has gone; a task
                that has not begun is then dropped. What the task raises is passed on.
        """
        future = self._submit(task)
        waiting = asyncio.ensure_future(asyncio.wrap_future(future))
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({waiting, gone}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            future.cancel()
            if gone.done():
                raise Problem(CLIENT_GONE, "the client has gone")
            raise Problem(
                503,
                f"this took longer than {self._timeout:g} seconds",
                "ask for less, try again later, or start the server with a larger --timeout",
                "timeout",
                {"Retry-After": "5"},
            )
        finally:
            for each in (waiting, gone):
                each.cancel()
            waiting.add_done_callback(_ignore_result)

    def begin(self, task: Callable[[], object]) -> None:
        """Run a task that nobody waits for; what it raises is lost."""
        self._submit(task)

    def _submit(self, task: Callable[[], T]) -> Future[T]:
        with self._guard:
            if self._taken >= self._most:
                self.refused += 1
                raise Problem(
                    429, "too many requests at once", "try again in a moment", "busy", headers={"Retry-After": "1"}
                )
            self._taken += 1
        try:
            future = self._pool.submit(task)
        except RuntimeError as error:  # the pool is being shut down
            self._leave(None)
            raise Problem(503, "the server is ending", "start it again", "ending") from error
        future.add_done_callback(self._leave)
        return future

    def _leave(self, future: object) -> None:
        with self._guard:
            self._taken -= 1

    def close(self) -> None:
        """Wait for what has begun; drop the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)


async def _gone(request: Request) -> None:
    """Return when the client has closed its connection."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


def _ignore_result(future: asyncio.Future[T]) -> None:
    """Read the result of an abandoned task, so that asyncio does not warn."""
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()
