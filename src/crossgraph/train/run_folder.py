"""A run's folder during training: checked for other content, locked while it is written."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from crossgraph.core.errors import InputError
from crossgraph.files import is_leftover, unwritable
from crossgraph.locks import lock_folder

CHECKPOINTS = "checkpoint"
_LOCK = ".lock"
_MARKS = (CHECKPOINTS, "run.json", "recipe.yaml")


def refuse_other(out: Path, resume: bool) -> None:
    """Check that a run may be written to a folder; changes nothing.

    Args:
        out: The run's folder, existing or not.
        resume: Whether a run there is resumed.

    Raises:
        InputError: It is a file, holds a run and `resume` is False, or holds things that are no run.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: is a file", "give a folder for --out")
    holds_run = any((out / mark).exists() for mark in _MARKS)
    if holds_run and not resume:
        raise InputError(f"{out}: already holds a run", "add --resume to go on with it, or give another --out")
    try:
        others = [path.name for path in out.iterdir() if path.name != _LOCK and not is_leftover(path.name)]
    except OSError as error:
        raise unwritable(out, error) from error
    if others and not holds_run:
        raise InputError(f"{out}: holds other files ({others[0]}) and no run", "give a new or empty folder for --out")


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder and hold its lock while the block runs.

    Removes what a killed training left half-written; and the folder, where it was made here and the block raises
    before anything in it is finished.

    Raises:
        InputError: Another process trains there, or the folder cannot be written.
    """
    made = not out.exists()
    with lock_folder(out / _LOCK, "another training writes here"):
        for path in out.iterdir():
            if is_leftover(path.name) and path.is_file():
                path.unlink(missing_ok=True)
        try:
            yield
        except BaseException:
            if made and not any((out / CHECKPOINTS).glob("step-*")) and not (out / "run.json").exists():
                shutil.rmtree(out, ignore_errors=True)
            raise


def first_difference(
    before: Mapping[str, Any], now: Mapping[str, Any], ignore_new: bool = False
) -> tuple[str, Any, Any] | None:
    """Find the first difference between two nested mappings of plain values.

    Args:
        before: The former values.
        now: The present ones.
        ignore_new: Skip keys that `before` lacks: fields that an older program did not have.

    Returns:
        The dotted key that differs first, with both values (None where absent); None when equal.
    """
    old, new = _flat(before), _flat(now)
    for key in [*old, *(key for key in new if key not in old and not ignore_new)]:
        if old.get(key) != new.get(key):
            return key, old.get(key), new.get(key)
    return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
