"""Training callbacks: log files, the display on the terminal, and the guard around trackers.

`log.csv` and `log.jsonl` get one row per training interval and per evaluation. Resuming removes the rows that the
checkpoint does not know of, so that no step is logged twice.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crossgraph.files import read_text, unwritable, write_text
from crossgraph.tables import csv_line

Row = Mapping[str, Any]
"""What is logged: "event" ("train" or "dev"), "step", "epoch", "seconds" and numbers by name."""

_PLAIN_EVERY = 15.0  # seconds between lines where no live line can be drawn
COLUMNS = (
    "event",  # "train" or "dev"
    "step",
    "epoch",
    "seconds",  # of training so far, without pauses
    "loss",  # mean over the steps since the last row
    "lr",
    "gradient_norm",  # before clipping, of the last step
    "pairs_per_second",
    "waited_for_data",  # share of the time since the last row that training stood still for the loader
    "rsum",
    "i2t_r1",
    "i2t_r5",
    "i2t_r10",
    "t2i_r1",
    "t2i_r5",
    "t2i_r10",
)


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        out: The run's folder.
        config: The recipe and the data's fingerprints, as plain values.
        rows: What was logged before, where a checkpoint is resumed; oldest first.
    """

    out: Path
    config: Mapping[str, Any]
    rows: Sequence[Row]


class Callback:
    """Base of callbacks, whose methods do nothing; a subclass overrides those that it needs. Steps count from 1."""

    def started(self, start: Start) -> None:
        """Handle the start or resumption, before the first step."""

    def stepped(self, step: int, epoch: int, loss: float, rate: float) -> None:
        """Handle an optimiser step: steps done, its epoch (from 0), mean loss and pairs per second of late."""

    def logged(self, row: Row) -> None:
        """Handle the training's numbers, every `log_every` steps."""

    def evaluated(self, row: Row) -> None:
        """Handle dev's numbers after an evaluation; row["best"] says whether they are the best so far."""

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Handle the end, also by Ctrl-C or an error: close files and threads."""


class Callbacks(Callback):
    """Several callbacks as one, called in their order."""

    def __init__(self, members: Sequence[Callback]) -> None:
        self._members = list(members)

    def started(self, start: Start) -> None:
        """Call all."""
        for member in self._members:
            member.started(start)

    def stepped(self, step: int, epoch: int, loss: float, rate: float) -> None:
        """Call all."""
        for member in self._members:
            member.stepped(step, epoch, loss, rate)

    def logged(self, row: Row) -> None:
        """Call all."""
        for member in self._members:
            member.logged(row)

    def evaluated(self, row: Row) -> None:
        """Call all."""
        for member in self._members:
            member.evaluated(row)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Call all, the later ones even when an earlier one fails."""
        with contextlib.ExitStack() as ending:
            for member in reversed(self._members):
                ending.callback(member.finished, summary)


class Guarded(Callback):
    """A callback that may fail: then one line says so, it is called no more, and training goes on.

    Args:
        name: Its name in that line.
        callback: Whose failures and warnings are kept off the training.
        log: Takes the line.
    """

    def __init__(self, name: str, callback: Callback, log: Callable[[str], None]) -> None:
        self._name, self._log = name, log
        self._callback = callback

    def started(self, start: Start) -> None:
        """Pass on."""
        with self._guard():
            self._callback.started(start)

    def logged(self, row: Row) -> None:
        """Pass on."""
        with self._guard():
            self._callback.logged(row)

    def evaluated(self, row: Row) -> None:
        """Pass on."""
        with self._guard():
            self._callback.evaluated(row)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Pass on, and never again."""
        with self._guard():
            self._callback.finished(summary)
        self._callback = Callback()

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the tracker's own libraries
                yield
        except Exception as error:  # noqa: BLE001 whatever it is, the training is worth more
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            self._log(f"warning: tracker '{self._name}' failed and is off from here on ({reason})")
            self._callback = Callback()


class RunLog(Callback):
    """The log files of a run, `log.csv` and `log.jsonl`, with the same rows.

    Args:
        folder: The run's folder.
        step: Rows of later steps are removed.
        evaluated_step: Rows of later evaluations are removed.

    Raises:
        InputError: The files cannot be read or written.
    """

    def __init__(self, folder: Path, step: int, evaluated_step: int) -> None:
        self._csv, self._jsonl = folder / "log.csv", folder / "log.jsonl"
        last = {"train": step, "dev": evaluated_step}
        self.rows = [row for row in _rows(self._jsonl) if row["step"] <= last.get(row["event"], step)]
        write_text(self._jsonl, "".join(_json_line(row) for row in self.rows))
        write_text(self._csv, csv_line(COLUMNS) + "".join(_csv_line(row) for row in self.rows))
        self._files: dict[Path, TextIO] = {}

    def logged(self, row: Row) -> None:
        """Append the row; see `add`."""
        self.add(row)

    def evaluated(self, row: Row) -> None:
        """Append the row; see `add`."""
        self.add(row)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Close both files."""
        self.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row to both files; keys beyond `COLUMNS` (a model's loss terms) go to the JSONL alone.

        Raises:
            InputError: The disk is full, or the files cannot be written.
        """
        for path, line in ((self._jsonl, _json_line(row)), (self._csv, _csv_line(row))):
            try:
                if path not in self._files:
                    self._files[path] = path.open("a", encoding="utf-8", newline="")
                self._files[path].write(line)
                self._files[path].flush()
            except OSError as error:
                raise unwritable(path, error) from error

    def close(self) -> None:
        """Close both files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


class TrainingProgress(Callback):
    """Shows loss, dev rSum, rate and time left on stderr: in one live line on a terminal, in plain lines elsewhere.

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
            taken = time.monotonic() - self._started
            left = taken / max(1, self._done - self._first) * (self._total - self._done)
            self.log(
                f"epoch {epoch + 1}  step {step}/{self._total}  loss {loss:.3f}  dev rSum {self._rsum}  "
                f"{rate:,.0f} pairs/s  {duration(left)} left"
            )

    def evaluated(self, row: Row) -> None:
        """Show a dev rSum, in the live line and as a line of its own."""
        self._rsum = f"{row['rsum']:.1f}{' (best)' if row['best'] else ''}"
        self.log(
            f"step {row['step']}, epoch {row['epoch']:.2f}: dev rSum {row['rsum']:.1f} "
            f"(R@1 image→text {row['i2t_r1']:.1f}, text→image {row['t2i_r1']:.1f})"
            f"{', the best so far' if row['best'] else ''}"
        )

    def log(self, line: str) -> None:
        """Print one line, above the live one where there is one."""
        if self._shown and self._live:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        elif self._shown:
            print(line, file=sys.stderr, flush=True)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def duration(seconds: float) -> str:
    """Format seconds: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file without a last line that a kill tore."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for line in read_text(path).splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and "step" in row and "event" in row:
            rows.append(row)
    return rows


def _json_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _csv_line(row: Mapping[str, Any]) -> str:
    return csv_line([row.get(name) for name in COLUMNS])
