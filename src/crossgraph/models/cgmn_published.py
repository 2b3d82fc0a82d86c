"""The authors' CGMN checkpoints, translated to our names and with their choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.base import Inputs
from crossgraph.models.cgmn import CGMNConfig
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys, refuse_unknown
from crossgraph.models.region_graph_published import as_linear, graph_key

# The published files: a list of two state dicts (image encoder, text encoder).
_GRAPHS = {
    **{f"0.GCN{number or ''}": f"semantic.{place}" for place, number in enumerate((0, 2, 3, 4))},
    "0.relationGCN": "spatial.0",
    "0.relationGCN2": "spatial.1",
    "1.GCN": "word_graph",
}
_KEYS = {**linear_keys("0.fc", "project_regions"), "1.embed.weight": "encode_words.embedding.weight"}
_PREFIXES = {
    "0.img_rnn.": "read_regions.gru.",
    "0.bn.": "image_norm.",
    "1.rnn.": "encode_words.gru.",
    "1.decoder.": "read_words.gru.",
}


def our_key(key: str) -> str | None:
    """Translate the name of a tensor, prefixed by its state dict's number; None where it is not CGMN's."""
    if key in _KEYS:
        return _KEYS[key]
    for theirs, ours in _PREFIXES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    found = (graph_key(key, theirs, ours) for theirs, ours in _GRAPHS.items())
    return next((name for name in found if name is not None), None)


@IMPORTERS.register("cgmn")
def import_cgmn(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' CGMN checkpoint, with their norm over the regions and their edge weights.

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options; `if_IOU` tells whether the graph of boxes, where its weights are there, is used.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    if len(states) != 2:
        raise InputError(f"{source}: holds {len(states)} state dicts, CGMN's has 2", "is it a CGMN checkpoint?")
    flat = {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}
    weights = as_linear(refuse_unknown(flat, our_key, source))
    spatial = bool(options.get("if_IOU", True)) and any(name.startswith("spatial.") for name in weights)
    if not spatial:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("spatial.")}
    try:
        projection, embedding = weights["project_regions.weight"], weights["encode_words.embedding.weight"]
        config = CGMNConfig(
            embed_size=projection.shape[0],
            word_size=embedding.shape[1],
            semantic_layers=4,
            spatial_layers=2 if spatial else 0,
            region_norm="region",
            edge_weight="published",
            batch_statistics="published",
        )
        inputs = Inputs(projection.shape[1], embedding.shape[0])
    except (KeyError, IndexError) as error:
        raise InputError(f"{source}: lacks the tensor {error}", "is it a CGMN checkpoint?") from error
    return PublishedModel("cgmn", config, inputs, weights)
