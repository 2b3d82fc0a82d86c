"""The learning curves that a run's log holds: loss and dev rSum by step."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_text

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curves:
    """One run's way.

    Attributes:
        loss: (step, mean loss since the last row).
        rsum: (step, rSum on dev).
        chosen: Step of the weights that were kept, where the run says.
    """

    loss: Points = field(default_factory=list)
    rsum: Points = field(default_factory=list)
    chosen: int | None = None

    def __bool__(self) -> bool:
        """Tell whether there is anything to draw."""
        return bool(self.loss or self.rsum)


def read_curves(run: Path, chosen: int | None = None) -> Curves:
    """Read `log.jsonl`, or `log.csv` where that is missing; a run without either has empty curves.

    Args:
        run: The run's folder.
        chosen: Step of the weights that were kept.
    """
    rows = list(_jsonl(run / "log.jsonl")) or list(_csv(run / "log.csv"))
    return Curves(_points(rows, "train", "loss"), _points(rows, "dev", "rsum"), chosen)


def _points(rows: Iterable[dict[str, Any]], event: str, name: str) -> Points:
    found: dict[float, float] = {}
    for row in rows:
        if row.get("event") == event:
            try:
                step, value = float(row["step"]), float(row[name])
            except (KeyError, TypeError, ValueError):
                continue
            if math.isfinite(step) and math.isfinite(value):
                found[step] = value
    return sorted(found.items())


def _jsonl(path: Path) -> Iterable[dict[str, Any]]:
    for line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # a kill can tear the last line
            continue
        if isinstance(row, dict):
            yield row


def _csv(path: Path) -> Iterable[dict[str, Any]]:
    try:
        yield from csv.DictReader(_lines(path))
    except csv.Error:
        return


def _lines(path: Path) -> list[str]:
    try:
        return read_text(path).splitlines() if path.is_file() else []
    except InputError:
        return []
