"""Translation of the tensor names and options of a published checkpoint to ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.base import Inputs

T = TypeVar("T")
UNUSED = "unused."  # prefix of tensors that the authors store and that no score depends on
_NORMED_REGIONS = "project_regions.parametrizations.weight.original1"
_WEIGHT_NORM = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def translate_prefix(key: str, prefixes: Mapping[str, str]) -> str | None:
    """Replace the prefix of a tensor's name by ours; None where no prefix matches."""
    return next((ours + key.removeprefix(theirs) for theirs, ours in prefixes.items() if key.startswith(theirs)), None)


def rename_tensors(
    states: Sequence[Mapping[str, Tensor]], translate: Callable[[str], str | None], source: str
) -> dict[str, Tensor]:
    """Return all tensors of a file under our names, in float32, without the `UNUSED` ones.

    Args:
        states: The file's state dicts.
        translate: Maps "0.fc.weight" (the state dict's number first) to our name; None where the model has no such
            tensor.
        source: The file's name, for messages.

    Raises:
        InputError: A name that `translate` does not know: the file is another model's.
    """
    renamed: dict[str, Tensor] = {}
    for number, state in enumerate(states):
        for key, tensor in state.items():
            name = translate(f"{number}.{key}")
            if name is None:
                raise InputError(f"{source}: does not know the tensor '{key}'", "is it this model's checkpoint?")
            layer, _, last = name.rpartition(".")
            if not name.startswith(UNUSED):
                name = f"{layer}.{_WEIGHT_NORM.get(last, last)}"
                renamed[name] = tensor.float() if tensor.is_floating_point() else tensor
    return renamed


def required_tensor(weights: Mapping[str, Tensor], name: str, source: str, axes: int = 2) -> Tensor:
    """Return a tensor whose shape tells a size.

    Raises:
        InputError: It is missing, is empty, or has another number of axes.
    """
    if name not in weights:
        raise InputError(f"{source}: lacks what we call {name}", "the file may be truncated or another model's")
    if weights[name].ndim != axes or not weights[name].numel():
        raise InputError(
            f"{source}: {name} has shape {tuple(weights[name].shape)}, no size of {axes} axes", "check the file"
        )
    return weights[name]


def encoder_fields(
    config: type[Any], weights: Mapping[str, Tensor], options: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """Return the encoder fields of a config that a published file was made with.

    Sizes and directions are read from the tensors. The two norms leave no trace in them and are read from the options.

    Args:
        config: The config's class; only fields that it has are returned.
        weights: Tensors under our names.
        options: The stored options.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing.
    """
    fields = {
        "embed_size": required_tensor(weights, "project_regions.bias", source, axes=1).shape[0],
        "word_size": required_tensor(weights, "encode_words.embedding.weight", source).shape[-1],
        "text_direction": "both" if "encode_words.gru.weight_ih_l0_reverse" in weights else "forward",
        "image_norm": "none" if options.get("no_imgnorm") else "l2",
        "text_norm": "none" if options.get("no_txtnorm") else "l2",
        "region_layer": "weight_norm" if _NORMED_REGIONS in weights else "linear",
    }
    return {item.name: fields[item.name] for item in dataclasses.fields(config) if item.name in fields}


def encoder_inputs(weights: Mapping[str, Tensor], source: str, regions: int | None = None) -> Inputs:
    """Return the sizes of the data that a published file was trained on.

    Raises:
        InputError: A tensor is missing.
    """
    layer = _NORMED_REGIONS if _NORMED_REGIONS in weights else "project_regions.weight"
    features = required_tensor(weights, layer, source).shape[-1]
    return Inputs(features, required_tensor(weights, "encode_words.embedding.weight", source).shape[0], regions)


def option_choice(options: Mapping[str, Any], name: str, choices: Mapping[str, T], default: T, source: str) -> T:
    """Translate a stored option to ours.

    Args:
        options: The file's.
        name: The option.
        choices: The authors' values and ours.
        default: Where the file has no such option.
        source: The file's name, for messages.

    Raises:
        InputError: An unknown value.
    """
    if name not in options:
        return default
    value = str(options[name])
    if value not in choices:
        raise InputError(f"{source}: its option {name} is '{value}'", f"known: {', '.join(choices)}")
    return choices[value]


def option_number(options: Mapping[str, Any], name: str, default: float, source: str) -> float:
    """Return a stored option that is a number.

    Raises:
        InputError: It is none.
    """
    value = options.get(name, default)
    if not isinstance(value, int | float):
        raise InputError(f"{source}: its option {name} is '{value}'", "it must be a number")
    return float(value)


def squeeze_convolutions(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn convolutions of width 1 (out, in, 1) into linear layers (out, in)."""
    return {
        name: tensor.squeeze(-1) if tensor.ndim == 3 and tensor.shape[-1] == 1 else tensor
        for name, tensor in weights.items()
    }
