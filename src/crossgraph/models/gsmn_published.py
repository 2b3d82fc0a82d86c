"""The authors' GSMN checkpoints, translated to our names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.fragments import encoder_fields, encoder_inputs, encoder_key, needed, number, translated
from crossgraph.models.gsmn import KERNELS, GSMNConfig
from crossgraph.models.published import IMPORTERS, PublishedModel

_SIDES = {"2": "visual", "3": "textual"}
_KERNEL = re.compile(r"graph_convolution_\d\.conv_weights\.(\d)\.(weight|bias)")
_BOX = re.compile(r"graph_convolution_1\.((?:mean|precision)_(?:rho|theta))")
_OUT = re.compile(r"out_([12])\.(bias|weight_g|weight_v|parametrizations\.weight\.original[01])")
_UNREAD = "unread"  # the text graph's edge parameters, which cannot change a score


def our_key(key: str) -> str | None:
    """Translate the name of a tensor, prefixed by its state dict's number; None where it is not GSMN's."""
    number_, _, rest = key.partition(".")
    if number_ not in _SIDES:
        return encoder_key(key)
    side = _SIDES[number_]
    if kernel := _KERNEL.fullmatch(rest):
        return f"{side}_graph.{kernel[2]}.{kernel[1]}"
    if side == "visual" and (box := _BOX.fullmatch(rest)):
        return f"kernels.{box[1]}"
    if out := _OUT.fullmatch(rest):
        part = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
        return f"{side}_score.{('hidden', 'out')[int(out[1]) - 1]}.{part.get(out[2], out[2])}"
    return _UNREAD if side == "textual" and rest == "graph_convolution_3.params" else None


@IMPORTERS.register("gsmn")
def import_gsmn(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' checkpoint: image encoder, text encoder, visual graph, textual graph.

    The eight kernels' matrices of a side become one. Whether dense or sparse, the file is the same computation.

    Raises:
        InputError: A tensor is missing, unknown or of an impossible shape.
    """
    given = translated(states, our_key, source)
    weights = {name: tensor for name, tensor in given.items() if name != _UNREAD and "_graph." not in name}
    weights = {name: t.flatten() if name.startswith("kernels.") else t for name, t in weights.items()}
    for name in ("visual_graph.weight", "textual_graph.weight", "textual_graph.bias"):
        axes = 2 if name.endswith("weight") else 1
        weights[name] = _together([needed(given, f"{name}.{k}", source, axes) for k in range(KERNELS)], source)
    hidden, blocks = weights["visual_graph.weight"].shape
    config = GSMNConfig(
        **encoder_fields(weights, options, source),
        smooth=number(options, "lambda_softmax", 20.0, source),
        sim_size=blocks,
        hidden_size=hidden,
    )
    return PublishedModel("gsmn", config, encoder_inputs(weights, source), weights)


def _together(kernels: Sequence[Tensor], source: str) -> Tensor:
    if len({tuple(kernel.shape) for kernel in kernels}) > 1:
        raise InputError(f"{source}: the kernels of a graph differ in shape", "check the file")
    return torch.cat(list(kernels))
