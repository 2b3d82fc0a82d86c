"""The authors' VSRN checkpoints, translated to our names and with their choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.base import Inputs
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys, refuse_unknown
from crossgraph.models.region_graph_published import as_linear, graph_key
from crossgraph.models.vsrn import VSRNConfig

# The published files: a list of two state dicts (image encoder, text encoder); the captioning branch is not in them.
_KEYS = {**linear_keys("0.fc", "project_regions"), "1.embed.weight": "encode_words.embedding.weight"}
_PREFIXES = {"0.img_rnn.": "read_regions.gru.", "0.bn.": "read_norm.", "1.rnn.": "encode_words.gru."}
_LAYERS = 4


def our_key(key: str) -> str | None:
    """Translate the name of a tensor, prefixed by its state dict's number; None where it is not VSRN's."""
    if key in _KEYS:
        return _KEYS[key]
    for theirs, ours in _PREFIXES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    found = (graph_key(key, f"0.Rs_GCN_{i + 1}", f"graph.{i}") for i in range(_LAYERS))
    return next((name for name in found if name is not None), None)


@IMPORTERS.register("vsrn")
def import_vsrn(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' VSRN checkpoint, with their norms over the regions.

    That there is a batch norm of the picture's vector tells which of the two published models it is: the one for
    `f30k_precomp`, which does not normalise the projected regions, or that for all other data, which does.

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options; not needed.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    flat = {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}
    weights = as_linear(refuse_unknown(flat, our_key, source))
    flickr = "read_norm.weight" in weights
    try:
        projection, embedding = weights["project_regions.weight"], weights["encode_words.embedding.weight"]
        config = VSRNConfig(
            embed_size=projection.shape[0],
            word_size=embedding.shape[1],
            layers=_LAYERS,
            input_norm="none" if flickr else "region",
            node_norm="region",
            read_norm="batch" if flickr else "none",
        )
        inputs = Inputs(projection.shape[1], embedding.shape[0])
    except (KeyError, IndexError) as error:
        raise InputError(f"{source}: lacks the tensor {error}", "is it a VSRN checkpoint?") from error
    return PublishedModel("vsrn", config, inputs, weights)
