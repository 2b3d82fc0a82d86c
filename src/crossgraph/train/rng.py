"""Random number states: set from a seed, taken out, put back.

Training draws from torch's generators only (weights, dropout, noise); numpy's and Python's are kept as
well, so that a model of a later day that draws from them still resumes exactly.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed Python, numpy and torch; each process of a group draws its own numbers."""
    mixed = (seed * 1_000_003 + rank) % 2**32
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def capture() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take the states of all generators of this process.

    Returns:
        Tensors by name, and what fits JSON.
    """
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    tensors["numpy"] = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    version, state, spare = random.getstate()
    values = {
        "numpy": [str(kind), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(state), spare],
    }
    return tensors, values


def restore(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Put back what `capture` took."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
    kind, position, has_gauss, gauss = values["numpy"]
    np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, state, spare = values["python"]
    random.setstate((version, tuple(state), spare))
