"""Where a report's data lies when nobody names it, and whether its own place can take it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_json
from crossgraph.runs import Run
from crossgraph.scoring.places import check_file

_REMEDY = "name the data folder with --data"


@dataclass(frozen=True)
class DataPlace:
    """A data folder, and its features where they lie elsewhere."""

    data: Path
    features: Path | None


def check_page(path: Path) -> None:
    """Refuse a place for the page before any work is done.

    Raises:
        InputError: Another suffix than .html, a folder of that name, or a folder that is missing or
            cannot be written.
    """
    check_file(path, ".html")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder", "make it, or name another place with --out")


def known_data(runs: Sequence[Run], split: str) -> DataPlace:
    """Return the data that the runs were evaluated on, or else trained on.

    Raises:
        InputError: No run says where it is, two say differently, or it is no longer there.
    """
    found: dict[DataPlace, str] = {}
    for run in runs:
        place = _from_card(run.path, split) or _from_command(run.info.command)
        if place is not None:
            found.setdefault(place, run.path.name)
    if not found:
        raise InputError(f"{runs[0].path}: does not say which data it belongs to", _REMEDY)
    if len(found) > 1:
        (first, one), (second, other), *_ = found.items()
        raise InputError(f"{one} belongs to {first.data}, {other} to {second.data}", _REMEDY)
    place, name = next(iter(found.items()))
    if not place.data.exists():
        raise InputError(f"{place.data}: the data that {name} belongs to is no longer there", _REMEDY)
    return place


def card_path(run: Path, split: str) -> Path:
    """Return where `crossgraph evaluate` leaves a run's card."""
    return run / ("card.json" if split == "test" else f"card-{split}.json")


def read_card(run: Path, split: str) -> dict[str, Any] | None:
    """Return a run's own card of a split, or None where there is none that can be read."""
    path = card_path(run, split)
    if not path.is_file():
        return None
    try:
        card = read_json(path)
    except InputError:
        return None
    return card if isinstance(card, dict) else None


def _from_card(run: Path, split: str) -> DataPlace | None:
    data = (read_card(run, split) or {}).get("data")
    if not isinstance(data, dict) or not isinstance(data.get("folder"), str):
        return None
    features = data.get("features")
    return DataPlace(Path(data["folder"]), Path(features) if isinstance(features, str) else None)


def _from_command(command: str) -> DataPlace | None:
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    named: dict[str, Path] = {}
    for option in ("--data", "--features"):
        for number, word in enumerate(words):
            if word == option and number + 1 < len(words):
                named[option] = Path(words[number + 1])
            elif word.startswith(f"{option}="):
                named[option] = Path(word.partition("=")[2])
    return DataPlace(named["--data"], named.get("--features")) if "--data" in named else None
