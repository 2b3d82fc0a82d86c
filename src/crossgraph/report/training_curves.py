"""Reads the learning curves of a run's log: loss and dev rSum by step."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_text

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class TrainingCurves:
    """The curves of one run.

    Attributes:
        loss: (step, mean loss since the last row).
        rsum: (step, rSum on dev).
        chosen: Step of the chosen weights, where the run says.
    """

    loss: Points
    rsum: Points
    chosen: int | None

    def __bool__(self) -> bool:
        """Return whether there is anything to draw."""
        return bool(self.loss or self.rsum)


def read_curves(run: Path, chosen: int | None = None) -> TrainingCurves:
    """Return the curves of `log.jsonl`, or of `log.csv` where that is missing; empty ones of a run without either.

    Args:
        run: The run's folder.
        chosen: Step of the chosen weights.
    """
    rows = list(_jsonl_rows(run / "log.jsonl")) or _csv_rows(run / "log.csv")
    return TrainingCurves(_points(rows, "train", "loss"), _points(rows, "dev", "rsum"), chosen)


def _points(rows: Iterable[dict[str, Any]], event: str, name: str) -> Points:
    values: dict[float, float] = {}
    for row in rows:
        if row.get("event") == event:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                step, value = float(row["step"]), float(row[name])
                if math.isfinite(step) and math.isfinite(value):
                    values[step] = value
    return sorted(values.items())


def _jsonl_rows(path: Path) -> Iterable[dict[str, Any]]:
    for line in _lines(path):
        with contextlib.suppress(json.JSONDecodeError):  # a kill can tear the last line
            row = json.loads(line)
            if isinstance(row, dict):
                yield row


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(csv.DictReader(_lines(path)))
    return rows


def _lines(path: Path) -> list[str]:
    try:
        return read_text(path).splitlines() if path.is_file() else []
    except InputError:
        return []
