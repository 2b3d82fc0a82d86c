"""Runs a `crossgraph` command in a process of its own and follows its log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crossgraph.files import unwritable

_INTERRUPTED = 130
_PATIENCE = 60.0  # seconds to save in


class Command:
    """A running command.

    It gets no signals from the terminal: Ctrl-C reaches this process alone, which then stops each command once.

    Args:
        words: Arguments of `crossgraph`.
        log: File of its output; appended to, so that a resumed command keeps its history.
        environment: Of the process.
        report: Takes its lines.

    Attributes:
        words: As given.

    Raises:
        InputError: The log cannot be written.
    """

    def __init__(
        self, words: Sequence[str], log: Path, environment: Mapping[str, str], report: Callable[[str], None]
    ) -> None:
        self.words = list(words)
        self._log, self._report = log, report
        self._last, self._rest = "", b""
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as out:
                self._read_to = out.tell()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "crossgraph.sweep.child", *words],
                    stdin=subprocess.PIPE,  # never written to: its end means to the command that this process is gone
                    stdout=subprocess.DEVNULL,
                    stderr=out,
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise unwritable(log, error) from error

    @property
    def running(self) -> bool:
        """Whether it has not ended; reports the lines since the last call."""
        ended = self._process.poll() is not None
        self._report_lines()
        return not ended

    @property
    def problem(self) -> str | None:
        """Why it failed, in one line; None while it runs and after success."""
        code = self._process.poll()
        if not code:
            return None
        if code < 0:
            name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
            return f"ended by {name}" + (" (not enough memory?)" if -code == signal.SIGKILL else "")
        if code == _INTERRUPTED:
            return "was stopped"
        return re.sub(r"^crossgraph [\w-]+: ", "", self._last) or f"ended with code {code}"

    def ask_to_stop(self) -> None:
        """Ask it to save and stop."""
        if self._process.poll() is None:
            self._process.terminate()  # not SIGINT, which programs started in the background ignore

    def end(self) -> None:
        """Wait until it has saved; kill it after a minute, or at a second Ctrl-C."""
        try:
            self._process.wait(timeout=_PATIENCE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()
        finally:
            if self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            self._report_lines()

    def _report_lines(self) -> None:
        try:
            with self._log.open("rb") as file:
                file.seek(self._read_to)
                new = file.read()
        except OSError:
            return
        self._read_to += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._last = text
                self._report(text)


def environment(jobs: int) -> dict[str, str]:
    """Return the environment of commands of which `jobs` run at once: each gets its share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // jobs)), **os.environ, "PYTHONUNBUFFERED": "1"}
