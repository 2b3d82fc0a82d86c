"""Handles Ctrl-C and SIGTERM: a training ends between two steps, or at once while nothing changes."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Interrupt:
    """Catches the two signals until closed; a second one is no longer caught.

    Attributes:
        asked: Whether a signal came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._at_once: Callable[[], str] | None = None
        self._before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._before[kind] = signal.signal(kind, self._caught)

    @contextlib.contextmanager
    def at_once(self, message: Callable[[], str]) -> Iterator[None]:
        """Within the block, raise at once instead of waiting for a step; the block changes nothing that is not saved.

        Raises:
            KeyboardInterrupt: A signal comes; its text is what `message` returns.
        """
        self._at_once = message
        try:
            yield
        finally:
            self._at_once = None

    def close(self) -> None:
        """Restore the former handlers."""
        while self._before:
            kind, handler = self._before.popitem()
            signal.signal(kind, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.close()
        if self._at_once is not None:
            raise KeyboardInterrupt(self._at_once())
