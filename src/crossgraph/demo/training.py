"""Several `crossgraph train` at once, each on its share of the cores, their progress in one place.

Small models cannot keep two cores busy: two trainings beside each other end sooner than one after the
other. They are the very commands that a person would type.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
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
        for training in running:
            training.wait()
    except KeyboardInterrupt:
        for training in running:
            training.stop()
        raise
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

    def wait(self) -> None:
        self._process.wait()
        self._reader.join()

    def stop(self) -> None:
        """Wait for a process that Ctrl-C has reached as well; it saves where it is."""
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.terminate()

    def check(self) -> None:
        code = self._process.returncode
        if code == 0:
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
