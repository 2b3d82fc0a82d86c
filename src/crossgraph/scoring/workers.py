"""Score blocks of pairs in parallel: on a CPU each core scores its own blocks.

Most operations on a block are too small to be worth sharing between cores: the cores would wait for each other dozens
of times a block, and long when somebody else uses one of them. So a core takes a whole block, which stays in its
cache, and there is nothing to wait for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import torch

Job = Callable[[], int]
"""Scores a block and returns how many pairs that was."""


class Workers:
    """Runs scoring jobs in threads; made by `workers`.

    Args:
        pool: Where to run them, or None to run each at once in the caller's thread.
        count: Threads of the pool.
    """

    def __init__(self, pool: ThreadPoolExecutor | None, count: int) -> None:
        self._pool, self._count = pool, count

    def run(self, jobs: Iterable[Job], tick: Callable[[int], None]) -> None:
        """Run all jobs; after an error or Ctrl-C, wait only for the jobs that have started.

        Args:
            jobs: Blocks; taken up little by little.
            tick: Called with the number of newly scored pairs, in the caller's thread.
        """
        if self._pool is None:
            for job in jobs:
                tick(job())
            return
        waiting: set[Future[int]] = set()
        try:
            for job in jobs:
                waiting.add(self._pool.submit(job))
                if len(waiting) >= 2 * self._count:
                    waiting = _finish_some(waiting, tick)
            while waiting:
                waiting = _finish_some(waiting, tick)
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)


@contextlib.contextmanager
def workers(device: torch.device, jobs: int | None = None) -> Generator[Workers]:
    """Yield workers for a device: one for each core where PyTorch may use several cores of a CPU.

    Args:
        device: Where the jobs compute.
        jobs: How many there will be, where that is known; fewer than cores share all of them.
    """
    count = torch.get_num_threads() if device.type == "cpu" else 1
    if count == 1 or (jobs is not None and jobs < count):
        yield Workers(None, 1)
        return
    pool = ThreadPoolExecutor(count, thread_name_prefix="scoring", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield Workers(pool, count)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(count)  # a worker's setting is also that of the product library, for all threads


def _finish_some(waiting: set[Future[int]], tick: Callable[[int], None]) -> set[Future[int]]:
    done, rest = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        tick(future.result())
    return rest
