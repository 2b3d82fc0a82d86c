"""TensorBoard, Weights & Biases and Trackio as training callbacks; all write into the run, none to a network.

A tracker's folder mirrors the run's log. When training resumes from a checkpoint the folder is written anew from
`log.jsonl`, which resuming has cut back to that checkpoint: no point is written twice, whatever a kill left, and a
tracker may be added to a training that is under way.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from crossgraph.core.errors import InputError
from crossgraph.train.callbacks import Callback, Row, Start

TrackerName = Literal["tensorboard", "wandb", "trackio"]
PROJECT = "crossgraph"
_INSTALL = "pip install 'crossgraph[trackers]'"
_NOT_METRICS = ("event", "step", "seconds", "epoch", "best")


class Tracker(Callback):
    """Base of the three: a folder in the run, filled from the log when training is resumed.

    Attributes:
        folder: Its name in the run.
    """

    folder: str

    def started(self, start: Start) -> None:
        """Empty the folder and write the rows logged before."""
        shutil.rmtree(start.out / self.folder, ignore_errors=True)
        self.open(start)
        for row in start.rows:
            self.put(row)

    def logged(self, row: Row) -> None:
        """Write training's numbers."""
        self.put(row)

    def evaluated(self, row: Row) -> None:
        """Write dev's numbers."""
        self.put(row)

    @abstractmethod
    def open(self, start: Start) -> None:
        """Make the folder and write the config."""

    @abstractmethod
    def put(self, row: Row) -> None:
        """Write the row's numbers at its step."""


class TensorBoardTracker(Tracker):
    """Event files: `tensorboard --logdir RUN`."""

    folder = "tensorboard"

    def open(self, start: Start) -> None:
        """Open the event file and write the config as text."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(start.out / self.folder))
        self._writer.add_text("config", f"```\n{json.dumps(start.config, indent=2, default=str)}\n```", 0)

    def put(self, row: Row) -> None:
        """Add scalars, and flush them to disk."""
        for name, value in metrics(row).items():
            self._writer.add_scalar(name, value, row["step"])
        self._writer.flush()

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Close the event file."""
        self._writer.close()


class WandbTracker(Tracker):
    """An offline run: `wandb sync RUN/wandb/offline-run-*` sends it, when and if one wants to."""

    folder = "wandb"

    def open(self, start: Start) -> None:
        """Start an offline run whose name and id stay the same when training is resumed."""
        import wandb

        os.environ["WANDB_ERROR_REPORTING"] = "false"  # or failures inside wandb are reported to its makers
        quiet = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, x_disable_stats=True)
        self._run = wandb.init(
            mode="offline",
            dir=str(start.out),
            project=PROJECT,
            name=start.out.name,
            id=hashlib.sha256(str(start.out.absolute()).encode()).hexdigest()[:8],
            config=json.loads(json.dumps(start.config, default=str)),
            settings=quiet,
        )

    def put(self, row: Row) -> None:
        """Log metrics at a step; those of training and of dev at one step become one point."""
        self._run.log(metrics(row), step=row["step"])

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Finish the run with its summary, and wait until wandb's own process has written all of it."""
        import wandb

        self._run.summary.update(dict(summary))
        self._run.finish()
        wandb.teardown()


class TrackioTracker(Tracker):
    """A local database: `TRACKIO_DIR=RUN/trackio trackio show`."""

    folder = "trackio"

    def open(self, start: Start) -> None:
        """Start a run in a database of its own."""
        self._path = start.out / self.folder
        with self._environment():
            import trackio

            config = json.loads(json.dumps(start.config, default=str))
            self._run = trackio.init(
                project=PROJECT,
                name=start.out.name,
                config=config,
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def put(self, row: Row) -> None:
        """Log metrics at a step."""
        self._run.log(metrics(row), step=row["step"])

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Write what is queued; the folder stays set until then, for the thread that writes."""
        import trackio

        with contextlib.redirect_stdout(io.StringIO()):
            trackio.finish()

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """Point trackio, which reads its settings at import, to the run's folder, and keep it local and silent."""
        remote = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID")
        removed = {name: os.environ.pop(name) for name in remote if name in os.environ}
        os.environ["TRACKIO_DIR"] = str(self._path.absolute())
        import trackio  # noqa: F401

        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "trackio" and hasattr(module, "TRACKIO_DIR"):
                module.TRACKIO_DIR = self._path.absolute()  # pyright: ignore[reportAttributeAccessIssue]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            os.environ.update(removed)


TRACKERS: dict[str, Callable[[], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "trackio": TrackioTracker,
}


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers exist and their packages are installed, before anything is trained.

    Raises:
        InputError: One is not installed, or none is called so.
    """
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"no tracker '{name}'", f"known: {', '.join(TRACKERS)}")
        try:
            installed = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            installed = False
        if not installed:
            raise InputError(f"--track {name}: the package {name} is not installed", _INSTALL)


def metrics(row: Row) -> dict[str, float]:
    """Return a row's numbers under the names that trackers show: "train/loss", "dev/rsum"."""
    numbers = {name: value for name, value in row.items() if name not in _NOT_METRICS}
    return {f"{row['event']}/{name}": float(value) for name, value in numbers.items()}
