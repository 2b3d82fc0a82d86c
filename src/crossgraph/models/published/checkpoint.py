"""Safe reading of published checkpoint files, and the registry of their importers.

torch's files are pickles. Only tensors, plain containers and `argparse.Namespace` (in which authors keep
their options) are allowed; anything else is refused before it runs.
"""

from __future__ import annotations

import argparse
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.core.registry import Registry
from crossgraph.models.base import MODELS, Inputs, Matcher


@dataclass(frozen=True)
class PublishedModel:
    """A published checkpoint under our names, ready to be built.

    Attributes:
        name: Registered name of the model.
        config: Its config.
        inputs: Sizes read from the tensors.
        weights: State dict under our names.
        added_words: Words that the authors' code may append to those of the vocabulary's file.
    """

    name: str
    config: Any
    inputs: Inputs
    weights: Mapping[str, Tensor]
    added_words: Sequence[str] = ()

    def build(self, source: str) -> Matcher:
        """Return the model with these weights, in evaluation mode.

        Raises:
            InputError: A tensor is missing or has another shape than the rest implies.
        """
        model: Matcher = MODELS[self.name](self.config, self.inputs)
        needed = model.state_dict()
        for name, tensor in needed.items():
            if name not in self.weights:
                raise InputError(f"{source}: lacks what we call {name}", "the file may be truncated or another model's")
            if self.weights[name].shape != tensor.shape:
                given, implied = tuple(self.weights[name].shape), tuple(tensor.shape)
                raise InputError(
                    f"{source}: {name} has shape {given} where the rest implies {implied}", "check the file"
                )
        for name, tensor in self.weights.items():
            if name not in needed:
                raise InputError(f"{source}: holds {name}, which '{self.name}' does not have", "check the file")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise InputError(
                    f"{source}: {name} holds NaN or infinity", "the training had diverged; take another file"
                )
        model.load_state_dict(dict(self.weights))
        return model.eval()


@dataclass(frozen=True)
class PublishedFile:
    """Content of a checkpoint file: state dicts in the authors' order and names, and their options."""

    states: Sequence[Mapping[str, Tensor]]
    options: Mapping[str, Any]
    epoch: int | None
    best_rsum: float | None


def read_checkpoint(path: Path) -> PublishedFile:
    """Read a published `torch.save` file: {model: [state dicts], opt, epoch, best_rsum}, zip or legacy.

    Raises:
        InputError: Missing, truncated, no such layout, or holding anything but tensors, plain
            containers, numbers, strings and an `argparse.Namespace`.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", "give the path of a published checkpoint (.pth.tar)")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused ({_shortened(error)})",
            "only tensors, plain containers and an argparse.Namespace are read; "
            "save it again as a plain dict of tensors",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a readable torch file ({_shortened(error)})", "it may be truncated; get it again"
        ) from error
    return _published_layout(loaded, path)


def _published_layout(loaded: Any, path: Path) -> PublishedFile:
    if not isinstance(loaded, dict) or "model" not in loaded:
        keys = ", ".join(map(str, list(loaded)[:5])) if isinstance(loaded, dict) else type(loaded).__name__
        raise InputError(f"{path}: has no entry 'model' (found: {keys})", "give the authors' checkpoint as published")
    states = loaded["model"]
    states = list(states) if isinstance(states, (list, tuple)) else [states]
    for state in states:
        if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
            raise InputError(
                f"{path}: 'model' is not a list of state dicts", "give the authors' checkpoint as published"
            )
    options = loaded.get("opt", {})
    options = vars(options) if isinstance(options, argparse.Namespace) else options
    epoch, rsum = loaded.get("epoch"), loaded.get("best_rsum")
    return PublishedFile(
        [{key.removeprefix("module."): tensor for key, tensor in state.items()} for state in states],
        options if isinstance(options, Mapping) else {},
        int(epoch) if isinstance(epoch, int | float) else None,
        float(rsum) if isinstance(rsum, int | float) else None,
    )


def _shortened(error: Exception) -> str:
    """Return what is wrong, without torch's advice to trust the file."""
    text = " ".join(str(error).split())
    if "Unsupported" in text or "GLOBAL" in text:
        start = max(text.find("GLOBAL"), text.find("Unsupported"), 0)
        return text[start:].split(" was not")[0][:120]
    return text[:120]


Importer = Callable[[Sequence[Mapping[str, Tensor]], Mapping[str, Any], str], PublishedModel]
IMPORTERS: Registry[Importer] = Registry("published checkpoint", "crossgraph.models.published")
