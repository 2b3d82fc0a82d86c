"""Status of a sweep's runs, read from their folders; the paths of a sweep, and its lock."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.files import read_json, read_text, sha256
from crossgraph.locks import lock_folder
from crossgraph.sweep.definition import LOGS, Planned, Sweep, Variant
from crossgraph.train.checkpoint import load_checkpoint
from crossgraph.train.config import FREE_ON_RESUME
from crossgraph.train.run_folder import CHECKPOINTS, first_difference, locked, refuse_other

_LOCK = ".sweep.lock"


@dataclass(frozen=True)
class RunStatus:
    """How far a run's training is.

    Attributes:
        finished: Whether it is over and its best weights are saved.
        must_agree: Recipe, data and vocabulary it was trained with; None where it has no checkpoint yet.
    """

    finished: bool = False
    must_agree: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SweepPaths:
    """Paths of a sweep's runs, cards and logs.

    Attributes:
        out: The sweep's folder.
        sweep: Its definition.
        split: The split that is evaluated.
    """

    out: Path
    sweep: Sweep
    split: str

    def run(self, variant: Variant, seed: int) -> Path:
        """Return the run's folder: one below the variant's where there are several seeds."""
        folder = self.out / variant.name
        return folder if len(self.sweep.seeds) == 1 else folder / f"seed-{seed}"

    def runs(self, variant: Variant, seed: int) -> list[Path]:
        """Return the runs that a row consists of: its own, or its members'."""
        if not variant.ensemble:
            return [self.run(variant, seed)]
        return [self.run(self.sweep[name], seed) for name in variant.ensemble]

    def card(self, variant: Variant, seed: int) -> Path:
        """Return the row's card, as `crossgraph evaluate` names it."""
        folder = self.run(variant, seed)
        if variant.ensemble:
            return (folder if self.split == "test" else folder / self.split) / "card.json"
        return folder / ("card.json" if self.split == "test" else f"card-{self.split}.json")

    def details(self, variant: Variant, seed: int) -> Path:
        """Return the folder with the rank of each query."""
        return self.card(variant, seed).parent / f"details-{self.split}"

    def log(self, variant: Variant, seed: int) -> Path:
        """Return the log of a row's commands."""
        return self.out / LOGS / f"{self.run(variant, seed).relative_to(self.out).as_posix().replace('/', '-')}.log"


def read_run_status(run: Path) -> RunStatus:
    """Return how far a run's training is.

    Raises:
        InputError: Its checkpoint is broken.
    """
    checkpoint = load_checkpoint(run / CHECKPOINTS)
    if checkpoint is None:
        return RunStatus()
    finished = bool(checkpoint.values["state"]["finished"]) and (run / "run.json").exists()
    return RunStatus(finished, checkpoint.values["must_agree"])


def core_seconds(log: Path) -> float | None:
    """Return the processor time of the training with this log; None where unknown."""
    try:
        return float(read_json(core_seconds_file(log))["seconds"])
    except (InputError, KeyError, TypeError, ValueError):
        return None


def core_seconds_file(log: Path) -> Path:
    """Return the file that `core_seconds` reads."""
    return log.with_suffix(".cores.json")


def last_logged(run: Path) -> Mapping[str, Any]:
    """Return the last row of a training's log; empty where there is none."""
    try:
        return json.loads(read_text(run / "log.jsonl").splitlines()[-1])
    except (InputError, LookupError, ValueError):
        return {}


def check_unchanged(planned: Planned, run: Path, status: RunStatus, fingerprints: Mapping[str, str]) -> None:
    """Check that a run was trained with what the sweep says now; nothing is ever removed.

    Args:
        planned: What the sweep says now.
        run: The run's folder.
        status: Of that run.
        fingerprints: Of what training reads: "train", "dev", and "vocabulary" where one was named.

    Raises:
        InputError: The folder is another's, or the recipe or the data differ; what differs is named.
    """
    refuse_other(run, resume=True)
    if status.must_agree is None:
        return
    wanted = {key: value for key, value in configs.to_dict(planned.recipe).items() if key not in FREE_ON_RESUME}
    if difference := first_difference(status.must_agree["recipe"], wanted, ignore_new=True):
        name, old, new = difference
        problem = f"was trained with {name} {old}, now it is {new}"
    else:
        had = {**status.must_agree["data"], "vocabulary": status.must_agree["vocabulary"]}
        changed = [name for name, fingerprint in fingerprints.items() if had.get(name) != fingerprint]
        problem = f"was trained with other data than this (its {changed[0]})" if changed else ""
    if problem:
        raise InputError(f"{run}: {problem}", f"remove {run} to train it again, or give another --out")


def valid_card(path: Path, runs: list[Path], fingerprint: str) -> dict[str, Any] | None:
    """Return a card if it was made from these runs' present weights and this data; else None.

    Args:
        path: The card.
        runs: The evaluated runs.
        fingerprint: Of the evaluated split.
    """
    try:
        card = read_json(path)
        weights = [entry["weights_sha256"] for entry in card["models"]["entries"]]
        same = weights == [sha256(run / "model.safetensors") for run in runs]
        return card if same and card["data"]["fingerprint"] == fingerprint else None
    except (InputError, OSError, KeyError, TypeError):
        return None


def lock_sweep(out: Path) -> contextlib.AbstractContextManager[None]:
    """Return a context manager that keeps other sweeps out of a folder.

    Raises:
        InputError: On entry: another sweep writes there, or the folder cannot be written.
    """
    return lock_folder(out / _LOCK, "another sweep writes here")


def is_training(run: Path) -> bool:
    """Return whether another process still trains in this folder: one whose sweep was just killed, say."""
    if not run.exists():
        return False
    try:
        with locked(run):
            return False
    except InputError:
        return True
