"""The authors' HSC checkpoints, translated to our names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.base import Inputs
from crossgraph.models.hsc import HSCConfig
from crossgraph.models.published import IMPORTERS, PublishedModel, refuse_unknown
from crossgraph.models.region_graph_published import as_linear
from crossgraph.models.sgraf_published import our_key as key_of_saf

# The published files: a list of three state dicts, as SGRAF's; the similarity's filtration has another name.
# One dict of all tensors is taken too, with or without the names of the encoders in front.
_WRAPPERS = ("img_enc.", "txt_enc.", "sim_enc.")
_FIRST_WORDS = (("fc", "IM_GCN_"), ("embed", "W_att", "cap_rnn"))  # of the image's and the text's tensors
_GRAPH_LAYERS = {"g": "value", "W.0": "update", "W.1": "norm", "fc1": "mix_query", "fc2": "mix_key"}
_WORD_LAYERS = {"local": "local", "global": "overall", "v": "value"}
_GRAPH = re.compile(r"0\.IM_GCN_([1-9])\.(g|W\.0|W\.1|fc1|fc2|(?:theta|phi)[1-9]?)\.(\w+)")
_WORDS = re.compile(r"1\.W_att([1-9])\.embedding_(local|global|v)\.0\.(\w+)")
_HEAD = re.compile(r"(.*\.)(query|key)(\d*)(\.\w+)")


def our_key(key: str) -> str | None:
    """Translate the name of a tensor, prefixed by its state dict's number; None where it is not HSC's.

    The four heads of a projection become `query`, `query1` ..., for `joined_heads` to lay side by side.
    """
    if found := _GRAPH.fullmatch(key):
        layer, part, last = int(found[1]) - 1, found[2], found[3]
        ours = _GRAPH_LAYERS.get(part) or part.replace("theta", "query").replace("phi", "key")
        return f"hierarchy.{layer}.{ours}.{last}"
    if found := _WORDS.fullmatch(key):
        return f"encode_words.attention.{int(found[1]) - 1}.{_WORD_LAYERS[found[2]]}.{found[3]}"
    return key_of_saf(key.replace("2.cal_sim_base_atten.", "2.SAF_module."))


def joined_heads(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lay the heads of each projection side by side, in their order: linear layers without anything between."""
    heads: dict[str, dict[int, Tensor]] = {}
    for name, tensor in weights.items():
        found = _HEAD.fullmatch(name) if name.startswith("hierarchy.") else None
        whole, number = (f"{found[1]}{found[2]}{found[4]}", int(found[3] or 0)) if found else (name, 0)
        heads.setdefault(whole, {})[number] = tensor
    return {
        name: torch.cat([parts[number] for number in sorted(parts)]) if len(parts) > 1 else next(iter(parts.values()))
        for name, parts in heads.items()
    }


@IMPORTERS.register("hsc")
def import_hsc(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' HSC checkpoint.

    Sizes, directions and numbers of layers are read from the tensors; `options` are asked only for the two norms.

    Args:
        states: Image, text and similarity encoder's state dicts, or one dict with the tensors of all three.
        options: The stored options.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    renamed = refuse_unknown(_placed(states, source), our_key, source)
    try:
        weights = joined_heads(as_linear(renamed))
    except RuntimeError as error:
        raise InputError(f"{source}: the heads of a graph layer do not fit each other", "check the file") from error
    try:
        projection, embedding = weights["project_regions.weight"], weights["encode_words.embedding.weight"]
        config = HSCConfig(
            embed_size=projection.shape[0],
            word_size=embedding.shape[1],
            sim_size=weights["local_similarity.project.weight"].shape[0],
            text_direction="both" if "encode_words.gru.weight_ih_l0_reverse" in weights else "forward",
            image_norm="none" if options.get("no_imgnorm") else "l2",
            text_norm="none" if options.get("no_txtnorm") else "l2",
            region_norm="region",
            region_layers=_layers(weights, r"hierarchy\.(\d+)\..*"),
            word_layers=_layers(weights, r"encode_words\.attention\.(\d+)\..*"),
        )
        regions = weights["visual_global.local_norm.weight"].shape[0]
        inputs = Inputs(projection.shape[1], embedding.shape[0], regions)
    except (KeyError, IndexError) as error:
        raise InputError(f"{source}: lacks the tensor {error}", "is it an HSC checkpoint?") from error
    return PublishedModel("hsc", config, inputs, weights)


def _placed(states: Sequence[Mapping[str, Tensor]], source: str) -> dict[str, Tensor]:
    """Return all tensors, each name behind the number of its encoder, wherever the file keeps them.

    Raises:
        InputError: Neither one state dict nor three.
    """
    if len(states) == 3:
        return {f"{place}.{key}": tensor for place, state in enumerate(states) for key, tensor in state.items()}
    if len(states) != 1:
        raise InputError(f"{source}: holds {len(states)} state dicts, HSC's has 3", "is it an HSC checkpoint?")
    placed: dict[str, Tensor] = {}
    for key, tensor in states[0].items():
        name = next((key.removeprefix(wrapper) for wrapper in _WRAPPERS if key.startswith(wrapper)), key)
        name = name.removeprefix("module.")
        place = next((place for place, words in enumerate(_FIRST_WORDS) if name.startswith(words)), 2)
        placed[f"{place}.{name}"] = tensor
    return placed


def _layers(weights: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many numbered layers there are; a gap in the numbers is found as a missing tensor later."""
    found = [re.fullmatch(pattern, name) for name in weights]
    return max((int(match[1]) + 1 for match in found if match), default=0)
