"""Progress of long tasks on stderr: a live bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ProgressCallback = Callable[[str, int, int], None]
"""Called often with a task's name ("captions"), how many items are done, and how many there are."""

_SILENT_SECONDS = 2.0  # tasks that take less print nothing
_LINE_SECONDS = 10.0  # between two lines of one task, without a terminal


def ignore_progress(task: str, done: int, total: int) -> None:
    """Do nothing: the progress callback of callers that show none."""


def pair_counter(progress: ProgressCallback | None, total: int) -> Callable[[int], None]:
    """Return a function that adds newly scored pairs and reports the sum of `total` as task "pairs"."""
    done = 0

    def add(pairs: int) -> None:
        nonlocal done
        done += pairs
        if progress is not None:
            progress("pairs", done, total)

    return add


@dataclass
class _Task:
    """Counts of one task.

    Attributes:
        first: Items done at the first call; they do not count towards the rate.
        done: Items done now.
        seconds: Time spent on this task; time in which other tasks reported is left out.
        printed: When a line was last printed; None before the first.
    """

    first: int
    done: int
    seconds: float = 0.0
    printed: float | None = None

    @property
    def rate(self) -> float:
        """Items per second."""
        return (self.done - self.first) / self.seconds if self.seconds else 0.0


class ProgressDisplay:
    """Shows counts, rate and time left of tasks; tasks may alternate, as captions and pairs of a chunk do."""

    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}
        self._last_call = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> ProgressDisplay:
        """Begin; nothing is shown yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the bar."""
        if self._bar is not None:
            self._bar[0].stop()

    def for_task(self, prefix: str) -> ProgressCallback:
        """Return a callback that shows tasks as "PREFIX: TASK"."""
        return lambda task, done, total: self.update(f"{prefix}: {task}", done, total)

    def update(self, task: str, done: int, total: int) -> None:
        """Show that `done` of `total` items of a task are done; this method is a `ProgressCallback`."""
        now = time.monotonic()
        state = self._tasks.get(task)
        if state is None or done < state.done:  # a new task, or one that starts again
            state = self._tasks[task] = _Task(done, done)
        else:
            state.done, state.seconds = done, state.seconds + now - self._last_call
        self._last_call = now
        if state.seconds < _SILENT_SECONDS:
            return
        if sys.stderr.isatty():
            self._draw(task, done, total, f"{state.rate:,.0f}/s")
        elif state.printed is None or now - state.printed >= _LINE_SECONDS:
            state.printed = now
            left = f"{state.rate:,.0f}/s, {(total - done) / state.rate:.0f} s left" if state.rate else "just begun"
            print(f"{task}: {done:,} of {total:,}, {left}", file=sys.stderr, flush=True)

    def _draw(self, task: str, done: int, total: int, rate: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            bar.start()
            self._bar = bar, bar.add_task(task, total=total, rate=rate)
        bar, shown = self._bar
        bar.update(shown, description=task, completed=done, total=total, rate=rate)
