"""Show the progress of a first pass over large data on stderr, unless it takes under two seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SILENT_FOR = 2.0  # seconds
_PLAIN_EVERY = 10.0


class Ticker:
    """Counts towards a total, with rate and time left: a bar on a terminal, else a line now and then.

    Args:
        what: What is being done, e.g. "comparing pictures".
        total: How many units it will be.
        unit: Their name: "pictures", "MB".
    """

    def __init__(self, what: str, total: float, unit: str) -> None:
        self._what, self._total, self._unit = what, max(total, 1e-9), unit
        self._begun = time.monotonic()
        self._last_line = self._begun - _PLAIN_EVERY
        self._bar: tuple[Progress, TaskID] | None = None

    def update(self, done: float) -> None:
        """Report how many units are done."""
        now = time.monotonic()
        if now - self._begun < _SILENT_FOR:
            return
        if sys.stderr.isatty():
            self._draw(done)
        elif now - self._last_line >= _PLAIN_EVERY:
            self._last_line = now
            rate = done / (now - self._begun)
            left = f"{(self._total - done) / rate:,.0f} s left" if rate else ""
            counts = f"{done:,.0f} of {self._total:,.0f} {self._unit}, {rate:,.0f}/s"
            print(f"{self._what}: {counts}, {left}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        """Begin; nothing is shown yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar[0].stop()

    def _draw(self, done: float) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True))
            bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            bar.start()
            self._bar = bar, bar.add_task(f"{self._what} ({self._unit})", total=self._total)
        bar, task = self._bar
        bar.update(task, completed=done)
