"""How far the scoring is: a live line on a terminal, a plain one now and then elsewhere; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from crossgraph.scoring.encode import Report

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SILENT_FOR = 2.0  # seconds: what takes no longer says nothing
_PLAIN_EVERY = 10.0


def counting_pairs(report: Report | None, total: int) -> Callable[[int], None]:
    """Return what hears how many more pairs are done, and reports how many of `total` are done by now."""
    done = 0

    def tick(pairs: int) -> None:
        nonlocal done
        done += pairs
        if report is not None:
            report("pairs", done, total)

    return tick


@dataclass
class _Count:
    """How far a task is.

    Attributes:
        before: What was done when it was first heard of.
        done: What is done by now.
        seconds: That it took since, without those in which others had their turn.
    """

    before: int
    done: int
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """What is done in a second."""
        return (self.done - self.before) / self.seconds if self.seconds else 0.0


class ScoringProgress:
    """Shows counts with rate and time left; tasks may take turns, as captions and pairs do, portion by portion."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._heard = time.monotonic()
        self._told: dict[str, float] = {}
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> ScoringProgress:
        """Begin; nothing is shown yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar[0].stop()

    def about(self, task: str) -> Report:
        """Return what hears how far a task is: (what is counted, how many are done, how many there are)."""
        return lambda what, done, total: self._tell(f"{task}: {what}", done, total)

    def _tell(self, shown: str, done: int, total: int) -> None:
        now = time.monotonic()
        count = self._counts.get(shown)
        if count is None or done < count.done:  # a new task, or the same one anew
            count = self._counts[shown] = _Count(done, done)
            self._told.pop(shown, None)
        else:
            count.done, count.seconds = done, count.seconds + now - self._heard
        self._heard = now
        if count.seconds < _SILENT_FOR:
            return
        if sys.stderr.isatty():
            self._draw(shown, done, total, f"{count.rate:,.0f}/s")
        elif now - self._told.get(shown, -_PLAIN_EVERY) >= _PLAIN_EVERY:
            self._told[shown] = now
            left = f"{count.rate:,.0f}/s, {(total - done) / count.rate:.0f} s left" if count.rate else "just begun"
            print(f"{shown}: {done:,} of {total:,}, {left}", file=sys.stderr, flush=True)

    def _draw(self, shown: str, done: int, total: int, rate: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            bar.start()
            self._bar = bar, bar.add_task(shown, total=total, rate=rate)
        bar, task = self._bar
        bar.update(task, description=shown, completed=done, total=total, rate=rate)
