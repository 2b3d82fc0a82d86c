"""Initial weights of linear layers."""

from __future__ import annotations

from torch import nn


def xavier(layer: nn.Linear) -> nn.Linear:
    """Draw a layer's weight uniformly from ±sqrt(6 / (in + out)) and set its bias to 0; return the layer."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(layer.bias)
    return layer


def xavier_layers(module: nn.Module) -> None:
    """Initialise every linear layer inside a module by `xavier`."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            xavier(layer)
