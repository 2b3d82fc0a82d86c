"""Checkpoints of a training: whole or not there, safetensors and JSON, nothing pickled.

    checkpoint/step-00000120/   state.safetensors   weights, optimiser, generators, by name
                                state.json          everything else
    checkpoint/.step-….tmp      one that was being written when the power went

A folder takes its name when all inside it is on disk, and only then does its predecessor go: a kill at
any moment leaves the older or the newer one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.files import read_json, unwritable

FORMAT_VERSION = 1
_PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved.

    Attributes:
        tensors: By name: `model/…`, `average/…`, `optimiser/<parameter>/…`, `rng/<rank>/…`.
        values: What fits JSON.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and remove older ones.

    Args:
        folder: The run's `checkpoint` folder.
        step: Optimiser steps done; a checkpoint of the same step is replaced.
        checkpoint: What to save.

    Raises:
        InputError: The disk is full or the folder cannot be written; the previous checkpoint is kept.
    """
    final = folder / f"{_PREFIX}{step:08d}"
    temporary = folder / f".{final.name}.tmp"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    values = json.dumps({"format_version": FORMAT_VERSION, **checkpoint.values}, indent=1, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        temporary.mkdir()
        _write(temporary / "state.safetensors", save(tensors))
        _write(temporary / "state.json", values.encode("utf-8"))
        _sync(temporary)
        if final.exists():  # written a moment ago, before an evaluation: same weights, older values
            final = _free_name(final)
        temporary.rename(final)
        _sync(folder)
        for older in _finished(folder):
            if older != final:
                shutil.rmtree(older)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise unwritable(final, error) from error


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint; None when there is none yet.

    Raises:
        InputError: It is broken, or of a newer format.
    """
    finished = _finished(folder)
    if not finished:
        return None
    newest = finished[-1]
    values = read_json(newest / "state.json", "delete this folder to go on from an older checkpoint or the beginning")
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        remedy = "update crossgraph" if isinstance(version, int) and version > FORMAT_VERSION else "train again"
        raise InputError(f"{newest}: checkpoint format {version}, this program reads {FORMAT_VERSION}", remedy)
    try:
        tensors = load_file(newest / "state.safetensors")
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{newest / 'state.safetensors'}: cannot be read ({reason})", "train again") from error
    return Checkpoint(tensors, values)


def remove_unfinished(folder: Path) -> None:
    """Remove what a kill left half-written."""
    for leftover in folder.glob(f".{_PREFIX}*.tmp"):
        shutil.rmtree(leftover)


def pack_optimiser(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimiser's state into named tensors and what fits JSON (its parameter groups)."""
    state = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    for parameter, entries in state["state"].items():
        for name, value in entries.items():
            tensors[f"{parameter}/{name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return tensors, state["param_groups"]


def unpack_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Put back what `pack_optimiser` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        parameter, name = key.split("/")
        state.setdefault(int(parameter), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _finished(folder: Path) -> list[Path]:
    """Return complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def _free_name(path: Path) -> Path:
    """Return the name that sorts right after `path`'s latest writing of the same step."""
    number = 1
    while (candidate := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return candidate


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
