"""Finds the data of a report where nobody names it, and checks the path of its page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import check_output_file, read_json
from crossgraph.runs import Run

_REMEDY = "name the data folder with --data"


@dataclass(frozen=True)
class DataPaths:
    """A data folder, and its features where they lie elsewhere."""

    data: Path
    features: Path | None


def check_page_path(path: Path) -> None:
    """Check that the page can be written, before any work is done.

    Raises:
        InputError: Another suffix than .html, a folder of that name, or a folder that is missing or
            cannot be written.
    """
    check_output_file(path, ".html")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder", "make it, or name another place with --out")


def find_data(runs: Sequence[Run], split: str) -> DataPaths:
    """Return the data that the runs were evaluated on, or else trained on.

    Raises:
        InputError: No run says where it is, two say differently, or it is no longer there.
    """
    names: dict[DataPaths, str] = {}  # the first run of each data
    for run in runs:
        paths = _from_card(run.path, split) or _from_command(run.info.command)
        if paths is not None:
            names.setdefault(paths, run.path.name)
    if not names:
        raise InputError(f"{runs[0].path}: does not say which data it belongs to", _REMEDY)
    if len(names) > 1:
        (first, name), (second, other), *_ = names.items()
        raise InputError(f"{name} belongs to {first.data}, {other} to {second.data}", _REMEDY)
    ((paths, name),) = names.items()
    if not paths.data.exists():
        raise InputError(f"{paths.data}: the data that {name} belongs to is no longer there", _REMEDY)
    return paths


def read_card(run: Path, split: str) -> dict[str, Any] | None:
    """Return the card that `crossgraph evaluate` left in a run's folder, or None where none can be read."""
    path = run / ("card.json" if split == "test" else f"card-{split}.json")
    try:
        card = read_json(path) if path.is_file() else None
    except InputError:
        return None
    return card if isinstance(card, dict) else None


def _from_card(run: Path, split: str) -> DataPaths | None:
    data = (read_card(run, split) or {}).get("data")
    if not isinstance(data, dict) or not isinstance(data.get("folder"), str):
        return None
    features = data.get("features")
    return DataPaths(Path(data["folder"]), Path(features) if isinstance(features, str) else None)


def _from_command(command: str) -> DataPaths | None:
    """Return the data that a training's command line names."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    named: dict[str, Path] = {}
    for option in ("--data", "--features"):
        for word, following in zip_longest(words, words[1:]):
            if word == option and following is not None:
                named[option] = Path(following)
            elif word.startswith(f"{option}="):
                named[option] = Path(word.partition("=")[2])
    return DataPaths(named["--data"], named.get("--features")) if "--data" in named else None
