"""How far the scoring is: a live line on a terminal, a plain one now and then elsewhere; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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


class ScoringProgress:
    """Shows counts with rate and time left, one task after another."""

    def __init__(self) -> None:
        self._shown = ""
        self._begun = self._told = time.monotonic()
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
        if shown != self._shown:
            self._shown, self._begun, self._told = shown, now, now
        if now - self._begun < _SILENT_FOR:
            return
        rate = done / (now - self._begun)
        if sys.stderr.isatty():
            self._draw(done, total, f"{rate:,.0f}/s")
        elif now - self._told >= _PLAIN_EVERY or self._told == self._begun:
            self._told = now
            left = f"{rate:,.0f}/s, {(total - done) / rate:.0f} s left" if done > 0 else "just begun"
            print(f"{shown}: {done:,} of {total:,}, {left}", file=sys.stderr, flush=True)

    def _draw(self, done: int, total: int, rate: str) -> None:
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
            self._bar = bar, bar.add_task(self._shown, total=total, rate=rate)
        bar, task = self._bar
        bar.update(task, description=self._shown, completed=done, total=total, rate=rate)
