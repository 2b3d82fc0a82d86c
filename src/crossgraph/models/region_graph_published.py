"""How the checkpoints of VSRN and of CGMN, which grew out of it, name a region graph layer."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

# Linear layers are convolutions of width 1 there; the batch norm is the second of two layers named W.
_LAYERS = {"g": "value", "theta": "query", "phi": "key", "W.0": "update", "W.1": "norm"}


def graph_key(key: str, theirs: str, ours: str) -> str | None:
    """Translate one tensor's name; None where it is not of this layer.

    Args:
        key: Full name in the file.
        theirs: The layer's name in the file.
        ours: The layer's name here.
    """
    if not key.startswith(f"{theirs}."):
        return None
    part, _, last = key.removeprefix(f"{theirs}.").rpartition(".")
    return f"{ours}.{_LAYERS[part]}.{last}" if part in _LAYERS else None


def as_linear(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn convolutions of width 1 into linear layers."""
    return {
        name: tensor.squeeze(-1) if tensor.ndim == 3 and tensor.shape[-1] == 1 else tensor
        for name, tensor in weights.items()
    }
