"""How far a task has come, for commands: what they show on stderr while a person waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class TaskProgress:
    """A bar with rate and time left on a terminal, a line every ten seconds elsewhere; on stderr."""

    def __enter__(self) -> TaskProgress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, _Task] = {}
        self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()

    def report(self, name: str, done: int, total: int) -> None:
        """Show that `done` of `total` things of the task `name` are there.

        What was there at the first call does not count towards the rate.
        """
        import time

        now = time.monotonic()
        if name not in self._tasks:
            self._tasks[name] = _Task(self._bar.add_task(name, total=total, rate=""), now, now, done)
        task = self._tasks[name]
        rate = (done - task.first) / (now - task.begun) if now > task.begun else 0.0
        shown = f"{rate:.0f}/s" if rate else ""
        self._bar.update(task.bar, completed=done, rate=shown, visible=done < total)
        if not self._console.is_terminal and now - task.told >= 10:
            left = f"{(total - done) / rate:.0f} s left" if rate else ""
            self._console.print(f"{name}: {done:,} of {total:,}, {shown}, {left}", highlight=False)
            task.told = now


@dataclass
class _Task:
    """A task's bar, when it began, when a line was last printed, and how much was there before."""

    bar: Any
    begun: float
    told: float
    first: int
