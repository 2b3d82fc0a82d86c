"""What a person sees while training runs: one live line on a terminal, plain lines elsewhere; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crossgraph.train.callbacks import Callback, Row

_PLAIN_EVERY = 15.0  # seconds between lines where no live line can be drawn


class TrainingProgress(Callback):
    """Shows loss, dev rSum, rate and time left.

    Args:
        total: Optimiser steps of the whole training.
        done: Of them, those done before.
        shown: False in all processes but the first.
    """

    def __init__(self, total: int, done: int, shown: bool = True) -> None:
        self._console = Console(stderr=True)
        self._shown = shown
        self._live = shown and self._console.is_terminal
        self._total, self._done, self._first = total, done, done
        self._started = self._last = time.monotonic()
        self._rsum = "–"
        self._bar: Any = None
        self._task: Any = None
        if self._live:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}  dev rSum {task.fields[rsum]}  {task.fields[rate]} pairs/s"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self._console,
                speed_estimate_period=120,
            )
            self._task = self._bar.add_task("", total=total, completed=done, epoch="", loss="–", rsum="–", rate="–")
            self._bar.start()

    def stepped(self, step: int, epoch: int, loss: float, rate: float) -> None:
        """Show an optimiser step; cheap enough for every one."""
        self._done = step
        if self._live:
            self._bar.update(
                self._task,
                completed=step,
                epoch=str(epoch + 1),
                loss=f"{loss:.3f}",
                rate=f"{rate:,.0f}",
                rsum=self._rsum,
            )
        elif self._shown and time.monotonic() - self._last >= _PLAIN_EVERY:
            self._last = time.monotonic()
            left = self._seconds_left()
            self.say(
                f"epoch {epoch + 1}  step {step}/{self._total}  loss {loss:.3f}  dev rSum {self._rsum}  "
                f"{rate:,.0f} pairs/s  {duration(left)} left"
            )

    def evaluated(self, row: Row) -> None:
        """Show a dev rSum, in the live line and as a line of its own."""
        self._rsum = f"{row['rsum']:.1f}{' (best)' if row['best'] else ''}"
        self.say(
            f"step {row['step']}, epoch {row['epoch']:.2f}: dev rSum {row['rsum']:.1f} "
            f"(R@1 image→text {row['i2t_r1']:.1f}, text→image {row['t2i_r1']:.1f})"
            f"{', the best so far' if row['best'] else ''}"
        )

    def say(self, line: str) -> None:
        """Print one line, above the live one where there is one."""
        if self._shown and self._live:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif self._shown:
            print(line, file=sys.stderr, flush=True)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def _seconds_left(self) -> float:
        taken = time.monotonic() - self._started
        return taken / max(1, self._done - self._first) * (self._total - self._done)


def duration(seconds: float) -> str:
    """Return a length of time for people: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
