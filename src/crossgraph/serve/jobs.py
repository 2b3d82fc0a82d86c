"""Index jobs: one at a time, in a thread of low priority, while searches go on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from crossgraph.core.errors import InputError
from crossgraph.library.indexer import Outcome, Settings, index_pictures
from crossgraph.library.library import Library
from crossgraph.serve.metrics import Metrics
from crossgraph.serve.problems import Problem
from crossgraph.vision.region_encoder import RegionEncoder

State = Literal["running", "done", "failed", "stopped"]
_MOST_JOBS = 20  # remembered
_BROKEN_NAMED = 100
_POLL_SECONDS, _KEEP_ALIVE_SECONDS = (
    0.25,
    15.0,
)  # seconds between two checks, and between two lines of an idle event stream
_LOG = logging.getLogger("crossgraph.serve")


class StopIndexingError(Exception):
    """Ends an index run between two steps; finished steps stay."""


class Job:
    """One run of the indexer.

    Args:
        number: Its id in addresses.
    """

    def __init__(self, number: str) -> None:
        self.id = number
        self.state: State = "running"
        self.what, self.done, self.total = "looking for pictures", 0, 0
        self.problem: str | None = None
        self.outcome: Outcome | None = None
        self.version = 0
        self.stop = threading.Event()
        self._begun = self._since = time.monotonic()
        self._ended: float | None = None
        self._first = 0

    def report(self, what: str, done: int, total: int) -> None:
        """Take the indexer's progress; a `ProgressCallback`.

        Raises:
            StopIndexingError: The job was asked to stop.
        """
        if what != self.what:
            self._since, self._first = time.monotonic(), done
        self.what, self.done, self.total = what, done, total
        self.version += 1
        if self.stop.is_set():
            raise StopIndexingError

    def end(self, state: State, problem: str | None = None, outcome: Outcome | None = None) -> None:
        """Set the final state."""
        self.problem, self.outcome, self._ended = problem, outcome, time.monotonic()
        self.state = state
        self.version += 1

    def progress(self) -> dict[str, Any]:
        """Return the progress as plain values."""
        ended = self._ended or time.monotonic()
        spent = ended - self._since
        rate = (self.done - self._first) / spent if spent > 0.05 else 0.0
        left = (self.total - self.done) / rate if rate > 0 and self.state == "running" else None
        found: dict[str, Any] | None = None
        if self.outcome is not None:
            found = dataclasses.asdict(self.outcome)
            found["broken"] = [{"path": path, "reason": reason} for path, reason in self.outcome.broken[:_BROKEN_NAMED]]
            found["broken_count"] = len(self.outcome.broken)
        return {
            "id": self.id,
            "state": self.state,
            "what": self.what,
            "done": self.done,
            "total": self.total,
            "rate": round(rate, 2),
            "left": None if left is None else round(left, 1),
            "seconds": round(ended - self._begun, 2),
            "outcome": found,
            "problem": self.problem,
        }


class Jobs:
    """The jobs of one server.

    Args:
        library: The library.
        encoder: Returns the region encoder, which searches share.
        changed: Called after the library has changed.
        metrics: Counters of the server.
    """

    def __init__(
        self,
        library: Library,
        encoder: Callable[[], RegionEncoder],
        changed: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self._library, self._encoder, self._changed, self._metrics = library, encoder, changed, metrics
        self._guard = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._ending = False

    @property
    def running(self) -> Job | None:
        """The job that runs."""
        last = self.last
        return last if last is not None and last.state == "running" else None

    @property
    def last(self) -> Job | None:
        """The newest job."""
        return next(reversed(self._jobs.values()), None)

    def get(self, number: str) -> Job:
        """Return a job.

        Raises:
            Problem: There is none of that name.
        """
        if number not in self._jobs:
            raise Problem(404, f"there is no job '{number[:40]}'", "begin one by POST /api/index", "job")
        return self._jobs[number]

    def begin(self, roots: Sequence[Path]) -> Job:
        """Begin to index some folders; none takes all that the library knows.

        Raises:
            Problem: One runs already, or the server is ending.
        """
        with self._guard:
            if self._ending:
                raise Problem(503, "the server is ending", "start it again", "ending")
            if self.running is not None:
                where = f"/api/jobs/{self.running.id}"
                raise Problem(409, "an index job runs already", f"follow it at {where}", "indexing")
            job = Job(secrets.token_hex(6))
            self._jobs[job.id] = job
            while len(self._jobs) > _MOST_JOBS:
                self._jobs.popitem(last=False)
            self._thread = threading.Thread(target=self._run, args=(job, list(roots)), name="index", daemon=True)
            self._thread.start()
        return job

    def _run(self, job: Job, roots: list[Path]) -> None:
        with contextlib.suppress(OSError, AttributeError):  # searches come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        self._metrics.indexing.set(1)
        try:
            outcome = index_pictures(self._library, roots, Settings(), job.report, self._encoder())
            self._metrics.indexed.inc(outcome.added)
            job.end("done", outcome=outcome)
        except StopIndexingError:
            job.end("stopped")
        except InputError as error:
            job.end("failed", str(error))
        except Exception as error:  # noqa: BLE001 a job must not vanish without a word
            _LOG.exception("index job %s failed", job.id)
            job.end("failed", f"the indexer failed ({type(error).__name__}); the server's terminal says more")
        finally:
            self._metrics.indexing.set(0)
            self._changed()

    def close(self) -> None:
        """Stop the job that runs after its step, and wait for it."""
        with self._guard:
            self._ending = True
            job, thread = self.running, self._thread
        if job is not None:
            job.stop.set()
        if thread is not None:
            thread.join()


async def events(job: Job, is_ending: Callable[[], bool]) -> AsyncIterator[str]:
    """Yield a job's progress as server-sent events, until it ends.

    Args:
        job: Any.
        is_ending: Whether the server is.
    """
    sent, idle = -1, 0.0
    while True:
        version, progress = job.version, job.progress()
        if version != sent:
            sent, idle = version, 0.0
            name = "end" if progress["state"] != "running" else str(version)
            yield f"id: {name}\ndata: {json.dumps(progress)}\n\n"
        if progress["state"] != "running" or is_ending():
            return
        await asyncio.sleep(_POLL_SECONDS)
        idle += _POLL_SECONDS
        if idle >= _KEEP_ALIVE_SECONDS:
            idle = 0.0
            yield ": still there\n\n"
