"""Runs the missing commands of a sweep, several at once, each row's training before its evaluation."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crossgraph.core.errors import InputError
from crossgraph.files import write_json
from crossgraph.sweep.definition import Planned, Variant
from crossgraph.sweep.process import Command, environment
from crossgraph.sweep.run_status import SweepPaths, core_seconds, core_seconds_file, is_training

Stage = Literal["train", "evaluate"]
_POLL = 0.2  # seconds
_WAIT_FOR_OTHERS = 120.0  # seconds: a training whose sweep was killed saves and stops


@dataclass
class Row:
    """The stages that one row of a table still needs for one seed.

    Attributes:
        variant: The variant.
        seed: Of its training, or of its members'.
        stages: What is still to be done, in order.
        planned: Its training; None for an ensemble.
        problem: Why it could not be finished.
    """

    variant: Variant
    seed: int
    stages: list[Stage]
    planned: Planned | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Its name in messages."""
        return key(self.variant, self.seed)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do, or nothing can be done."""
        return not self.stages or bool(self.problem)


@dataclass
class Work:
    """All rows of a sweep that were asked for, and how to run them.

    Attributes:
        rows: In the table's order.
        paths: Of the sweep.
        fingerprint: Of the split that is evaluated.
        shared: Options of both commands: data, features, device.
        training: Options of `crossgraph train` alone: `--small`, a vocabulary.
        jobs: Commands at once.
        report: Takes lines of progress.
        details: Whether evaluations also write the rank of each query, to `SweepPaths.details`.
    """

    rows: list[Row]
    paths: SweepPaths
    fingerprint: str
    shared: Sequence[str]
    training: Sequence[str]
    jobs: int
    report: Callable[[str], None]
    details: bool = False
    _running: list[tuple[Row, Command]] = field(default_factory=list[tuple[Row, Command]])
    _core_seconds: dict[Path, float | None] = field(default_factory=dict[Path, "float | None"])

    def run(self, ended: Callable[[Mapping[str, str]], object]) -> dict[str, str]:
        """Run until every row is finished or has failed.

        Args:
            ended: Called after each such row, with the problems so far.

        Returns:
            The problem of each row that failed, by `Row.name`.

        Raises:
            KeyboardInterrupt: Ctrl-C; what ran has saved.
        """
        with self._stopping():
            while self._running or any(self._ready()):
                before = sum(row.done for row in self.rows)
                for row in list(self._ready())[: self.jobs - len(self._running)]:
                    self._start(row)
                time.sleep(_POLL)
                for row, command in list(self._running):
                    if not command.running:
                        self._running.remove((row, command))
                        command.end()
                        self._ended(row, command.problem)
                if sum(row.done for row in self.rows) > before:
                    ended(self.problems)
        return self.problems

    @property
    def problems(self) -> dict[str, str]:
        """The problem of each row that failed, by `Row.name`."""
        return {row.name: row.problem for row in self.rows if row.problem}

    def words(self, row: Row) -> list[str]:
        """Return the row's next command as a person would type it, without `crossgraph`."""
        if row.stages[0] == "train":
            assert row.planned is not None
            out = self.paths.run(row.variant, row.seed)
            words = ["train", row.planned.base, *self.shared, *self.training, "--out", str(out)]
            words += ["--resume"] if out.exists() else []
            return words + [f"--{override}" for override in row.planned.overrides]
        runs = [str(run) for run in self.paths.runs(row.variant, row.seed)]
        words = ["evaluate", *runs, *self.shared, "--split", self.paths.split]
        words += ["--details", str(self.paths.details(row.variant, row.seed))] if self.details else []
        card = self.paths.card(row.variant, row.seed)
        return words + (["--out", str(card.parent)] if row.variant.ensemble else [])

    def _ready(self) -> Iterator[Row]:
        """Yield the rows that can be started now."""
        busy = [row for row, _ in self._running]
        for row in self.rows:
            if row.done or any(row is other for other in busy):
                continue
            members = self._members(row)
            if failed := [member for member in members if member.problem]:
                row.problem = f"{failed[0].variant.name} is missing"
            elif all(member.done for member in members):
                yield row

    def _members(self, row: Row) -> list[Row]:
        names = row.variant.ensemble
        return [other for other in self.rows if other.variant.name in names and other.seed == row.seed]

    def _start(self, row: Row) -> None:
        name, stage = row.name, row.stages[0]
        ended = sum(other.done for other in self.rows)
        self.report(f"[{ended + len(self._running) + 1}/{len(self.rows)}] {name}: {stage}")
        try:
            if stage == "train":
                self._wait_for_others(row)
            log = self.paths.log(row.variant, row.seed)
            command = Command(self.words(row), log, environment(self.jobs), lambda line: self.report(f"{name}: {line}"))
        except InputError as error:
            self._ended(row, str(error))
            return
        self._running.append((row, command))
        if stage == "train":
            known = core_seconds(log)
            begun = known if known is not None or row.planned is None or "--resume" in command.words else 0.0
            self._core_seconds[log] = None if begun is None else begun - _spent()

    def _wait_for_others(self, row: Row) -> None:
        run, until = self.paths.run(row.variant, row.seed), time.monotonic() + _WAIT_FOR_OTHERS
        reported = False
        while is_training(run):
            if time.monotonic() > until:
                raise InputError(f"{run}: another training writes here", "wait for it or stop it")
            if not reported:
                self.report(f"{row.variant.name}: waiting for another training in {run} to stop")
                reported = True
            time.sleep(_POLL)

    def _ended(self, row: Row, problem: str | None) -> None:
        self._save_core_seconds(self.paths.log(row.variant, row.seed))
        if problem is None:
            row.stages.pop(0)
        else:
            row.problem = problem
            self.report(f"{row.name}: {problem}")

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """Let running commands save and stop when the block is left early."""
        try:
            yield
        finally:
            for _, command in self._running:
                command.ask_to_stop()
            for row, command in self._running:
                command.end()
                self._save_core_seconds(self.paths.log(row.variant, row.seed))

    def _save_core_seconds(self, log: Path) -> None:
        """Write the processor time of a training that has ended; known only where nothing ran beside it."""
        before = self._core_seconds.pop(log, None)
        if before is not None and self.jobs == 1:
            write_json(core_seconds_file(log), {"seconds": round(before + _spent(), 2)})


def _spent() -> float:
    """Return the processor time of the child processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def key(variant: Variant, seed: int) -> str:
    """Return the name of a row of one seed."""
    return variant.name if not seed else f"{variant.name} (seed {seed})"
