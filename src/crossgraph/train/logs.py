"""`log.csv` and `log.jsonl`: one row per training interval and per evaluation, always written.

Resuming takes away the rows that the checkpoint does not know of, so that no step is logged twice.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from crossgraph.files import read_text, unwritable, write_text
from crossgraph.train.callbacks import Callback, Row

COLUMNS = (
    "event",  # "train" or "dev"
    "step",
    "epoch",
    "seconds",  # of training so far, without pauses
    "loss",  # mean over the steps since the last row
    "lr",
    "gradient_norm",  # before clipping, of the last step
    "pairs_per_second",
    "waited_for_data",  # share of the time since the last row that training stood still for the loader
    "rsum",
    "i2t_r1",
    "i2t_r5",
    "i2t_r10",
    "t2i_r1",
    "t2i_r5",
    "t2i_r10",
)


class RunLog(Callback):
    """The two log files of a run, kept in step.

    Args:
        folder: The run's folder.
        step: Rows of later steps are removed.
        evaluated_step: Rows of later evaluations are removed.

    Raises:
        InputError: The files cannot be read or written.
    """

    def __init__(self, folder: Path, step: int, evaluated_step: int) -> None:
        self._csv, self._jsonl = folder / "log.csv", folder / "log.jsonl"
        last = {"train": step, "dev": evaluated_step}
        self.rows = [row for row in _rows(self._jsonl) if row["step"] <= last.get(row["event"], step)]
        write_text(self._jsonl, "".join(_json_line(row) for row in self.rows))
        write_text(self._csv, ",".join(COLUMNS) + "\n" + "".join(_csv_line(row) for row in self.rows))
        self._files: dict[Path, TextIO] = {}

    def logged(self, row: Row) -> None:
        """Append it; see `add`."""
        self.add(row)

    def evaluated(self, row: Row) -> None:
        """Append it; see `add`."""
        self.add(row)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Close both files."""
        self.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row to both files; keys beyond `COLUMNS` (a model's loss terms) go to the JSONL alone.

        Raises:
            InputError: The disk is full, or the files cannot be written.
        """
        for path, line in ((self._jsonl, _json_line(row)), (self._csv, _csv_line(row))):
            try:
                if path not in self._files:
                    self._files[path] = path.open("a", encoding="utf-8", newline="")
                self._files[path].write(line)
                self._files[path].flush()
            except OSError as error:
                raise unwritable(path, error) from error

    def close(self) -> None:
        """Close both files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read what is whole; a kill can tear the last line."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for line in read_text(path).splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and "step" in row and "event" in row:
            rows.append(row)
    return rows


def _json_line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _csv_line(row: Mapping[str, Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([row.get(name, "") for name in COLUMNS])
    return text.getvalue()
