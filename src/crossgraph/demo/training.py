"""Runs several `crossgraph train` at once: two small models train sooner side by side than one after the other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from crossgraph.core.errors import InputError
from crossgraph.sweep.process import Command, environment

_POLL = 0.2  # seconds


def train_all(
    recipes: Mapping[str, str], data: Path, out: Path, options: Sequence[str], log: Callable[[str], None]
) -> None:
    """Train every recipe into its folder; finished runs stay, stopped ones are resumed.

    Args:
        recipes: Recipe by the run's name.
        data: The data folder.
        out: Folder of the runs.
        options: Further options of `crossgraph train`.
        log: Takes lines of progress.

    Raises:
        InputError: A training failed; its last line says why. The others have saved.
        KeyboardInterrupt: Ctrl-C; the trainings have saved.
    """
    commands: list[Command] = []
    problem: str | None = None
    with tempfile.TemporaryDirectory() as logs:
        try:
            for name, recipe in recipes.items():
                words = ["train", recipe, "--data", str(data), "--out", str(out / name), *options]
                words += ["--resume"] if (out / name).exists() else []
                report = partial(lambda name, line: log(f"{name}: {line}"), name)
                commands.append(Command(words, Path(logs, f"{name}.log"), environment(len(recipes)), report))
            while problem is None:
                ended = [command for command in commands if not command.running]
                problem = next((command.problem for command in ended if command.problem), None)
                if len(ended) == len(commands):
                    break
                time.sleep(_POLL)
        finally:
            for command in commands:
                command.ask_to_stop()
            for command in commands:
                command.end()
    if problem:
        raise InputError(problem)
