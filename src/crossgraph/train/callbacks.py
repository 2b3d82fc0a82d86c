"""What follows a training without having a say in it: logs, the line on the terminal, trackers."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
"""What is logged: "event" ("train" or "dev"), "step", "epoch", "seconds" and numbers by name."""


@dataclass(frozen=True)
class Start:
    """What a training is, as its followers are told.

    Attributes:
        out: The run's folder.
        config: The recipe and the data's fingerprints, as plain values.
        rows: What was logged before this beginning, where a checkpoint is resumed; oldest first.
    """

    out: Path
    config: Mapping[str, Any]
    rows: Sequence[Row]


class Callback:
    """The protocol, with nothing done; a follower overrides what it listens to. Steps count from 1."""

    def started(self, start: Start) -> None:
        """Hear what is trained, before the first step of this sitting."""

    def stepped(self, step: int, epoch: int, loss: float, rate: float) -> None:
        """Hear of an optimiser step: steps done, the epoch it was in (from 0), loss and pairs per second of late."""

    def logged(self, row: Row) -> None:
        """Hear the training's numbers, every `log_every` steps."""

    def evaluated(self, row: Row) -> None:
        """Hear dev's numbers after a ranking; row["best"] tells whether they are the best so far."""

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Hear the end of this sitting, also by Ctrl-C or an error, and let go of files and threads."""


class Callbacks(Callback):
    """Several as one, told in their order."""

    def __init__(self, members: Sequence[Callback]) -> None:
        self._members = list(members)

    def started(self, start: Start) -> None:
        """Tell all; see `Callback`."""
        for member in self._members:
            member.started(start)

    def stepped(self, step: int, epoch: int, loss: float, rate: float) -> None:
        """Tell all; see `Callback`."""
        for member in self._members:
            member.stepped(step, epoch, loss, rate)

    def logged(self, row: Row) -> None:
        """Tell all; see `Callback`."""
        for member in self._members:
            member.logged(row)

    def evaluated(self, row: Row) -> None:
        """Tell all; see `Callback`."""
        for member in self._members:
            member.evaluated(row)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Tell all, the later ones even when an earlier one fails."""
        with contextlib.ExitStack() as ending:
            for member in reversed(self._members):
                ending.callback(member.finished, summary)


class Guarded(Callback):
    """A follower that may fail: then one line says so, it hears no more, and training goes on.

    Args:
        name: What it is called in that line.
        follower: Whose failures and warnings are kept off the training.
        say: Takes the line.
    """

    def __init__(self, name: str, follower: Callback, say: Callable[[str], None]) -> None:
        self._name, self._say = name, say
        self._follower: Callback | None = follower

    def started(self, start: Start) -> None:
        """Pass on; see `Callback`."""
        with self._guard() as follower:
            follower.started(start)

    def logged(self, row: Row) -> None:
        """Pass on; see `Callback`."""
        with self._guard() as follower:
            follower.logged(row)

    def evaluated(self, row: Row) -> None:
        """Pass on; see `Callback`."""
        with self._guard() as follower:
            follower.evaluated(row)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Pass on; see `Callback`."""
        with self._guard() as follower:
            follower.finished(summary)
        self._follower = None

    @contextlib.contextmanager
    def _guard(self) -> Iterator[Callback]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the tracker's own libraries
                yield self._follower or Callback()
        except Exception as error:  # noqa: BLE001 whatever it is, the training is worth more
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            self._say(f"warning: tracker '{self._name}' failed and is off from here on ({reason})")
            self._follower = None
