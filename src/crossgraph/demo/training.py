"""Several `crossgraph train` at once, each on its share of the cores, their progress in one place.

Small models cannot keep two cores busy: two trainings beside each other end sooner than one after the
other. They are the very commands that a person would type.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from crossgraph.core.errors import InputError

Say = Callable[[str], None]


def train_all(recipes: Mapping[str, str], data: Path, out: Path, options: Sequence[str], say: Say) -> None:
    """Train every recipe into its folder; those that are finished stay, those that were stopped go on.

    Args:
        recipes: Recipe by the run's name.
        data: The data folder.
        out: Folder of the runs.
        options: What else `crossgraph train` is told.
        say: Hears every line of progress.

    Raises:
        InputError: A training refused its input; its own line is passed on.
        KeyboardInterrupt: Ctrl-C; the trainings have saved where they were.
    """
    cores = len(os.sched_getaffinity(0))
    threads = str(max(1, cores // len(recipes)))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    running = [_Training(name, recipe, data, out / name, options, environment, say) for name, recipe in recipes.items()]
    try:
        while any(training.runs() for training in running):
            if any(training.failed() for training in running):
                break
            time.sleep(0.2)
    except KeyboardInterrupt:
        for training in running:
            training.stop(patience=20)  # Ctrl-C on a terminal has reached them as well
        raise
    finally:
        for training in running:
            training.stop()
    for training in running:
        training.check()


class _Training:
    """One `crossgraph train` in a process of its own."""

    def __init__(
        self,
        name: str,
        recipe: str,
        data: Path,
        out: Path,
        options: Sequence[str],
        environment: Mapping[str, str],
        say: Say,
    ) -> None:
        words = ["train", recipe, "--data", str(data), "--out", str(out), *options]
        if out.exists():
            words.append("--resume")
        self._name, self._say, self._last = name, say, ""
        self._interrupted = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crossgraph", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()

    def runs(self) -> bool:
        return self._process.poll() is None

    def failed(self) -> bool:
        return self._process.poll() not in (None, 0)

    def stop(self, patience: float = 0) -> None:
        """End what still runs after `patience` seconds, as Ctrl-C does: it saves where it is."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=patience)
        if self.runs():
            self._interrupted = True
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=5)

    def check(self) -> None:
        code = self._process.returncode
        if code == 0 or self._interrupted:  # stopped because of another one, which says why
            return
        if code == 2:
            raise InputError(self._last.partition(": ")[2] or self._last)
        if code == 130:
            raise KeyboardInterrupt
        raise InputError(
            f"the training of {self._name} ended with code {code} ({self._last})",
            "run the same command again; it goes on",
        )

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._last = line.strip()
                self._say(f"{self._name}: {self._last}")
