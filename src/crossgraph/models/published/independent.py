"""Importers of VSE++'s, GPO's, VSRN's and CGMN's published checkpoints: models with one vector a side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.cgmn import CGMNConfig
from crossgraph.models.gpo import GPOConfig
from crossgraph.models.published.checkpoint import IMPORTERS, PublishedModel
from crossgraph.models.published.translation import (
    UNUSED,
    encoder_fields,
    encoder_inputs,
    rename_tensors,
    squeeze_convolutions,
    translate_prefix,
)
from crossgraph.models.vsepp import VSEOrderConfig, VSEPPConfig
from crossgraph.models.vsrn import VSRNConfig

# The published files: a list of two state dicts, 0 the image encoder's and 1 the text encoder's.
_VSEPP = {"0.fc.": "project_regions.", "1.embed.": "encode_words.embedding.", "1.rnn.": "encode_words.gru."}


@IMPORTERS.register("vsepp")
def import_vsepp(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' VSE++ on precomputed features; their full networks hold a CNN and are refused.

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options: `no_imgnorm`, `use_abs` and `measure` leave no trace in tensors.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    if states and any(key.startswith("cnn.") for key in states[0]):
        raise InputError(
            f"{source}: its image encoder is a whole network (0.cnn)",
            "give a checkpoint that was trained on precomputed features (data_name ..._precomp)",
        )
    weights = rename_tensors(states, lambda key: translate_prefix(key, _VSEPP), source)
    name, family = ("vsepp-order", VSEOrderConfig) if options.get("measure") == "order" else ("vsepp", VSEPPConfig)
    signs = "absolute" if options.get("use_abs") else "signed"
    config = family(**encoder_fields(family, weights, options, source), signs=signs)
    return PublishedModel(name, config, encoder_inputs(weights, source), weights)


_GPO = {
    **_VSEPP,
    "0.mlp.layers.0.": "narrow.",
    "0.mlp.layers.1.": "widen.",
    "0.mlp.bns.0.": "narrow_norm.",
    "0.mlp.bns.1.": UNUSED,  # the authors make it and never call it
    "0.gpool.": "pool_regions.",
    "1.gpool.": "pool_words.",
}


def gpo_key(key: str) -> str | None:
    """Translate the name of a GPO tensor, prefixed by its state dict's number; None where it is not GPO's."""
    return translate_prefix(key, _GPO)


@IMPORTERS.register("gpo")
def import_gpo(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate a checkpoint of the authors' Bi-GRU branch of GPO on region features.

    The word embedding has a row for `<mask>`, which the size augmentation writes and no vocabulary file holds.

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options: `no_imgnorm` and `no_txtnorm` leave no trace in tensors.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    if len(states) > 1 and any(key.startswith("bert.") for key in states[1]):
        raise InputError(f"{source}: its words are BERT's", "give a checkpoint of the authors' branch 'bigru'")
    weights = rename_tensors(states, gpo_key, source)
    config = GPOConfig(**encoder_fields(GPOConfig, weights, options, source), batch_statistics="published")
    return PublishedModel("gpo", config, encoder_inputs(weights, source), weights, added_words=("<mask>",))


# Linear layers of VSRN's and CGMN's region graphs are convolutions of width 1; the batch norm is the second of two
# layers named W.
_GRAPH_LAYERS = {"g.": "value.", "theta.": "query.", "phi.": "key.", "W.0.": "update.", "W.1.": "norm."}


def _graph_prefixes(graphs: Mapping[str, str]) -> dict[str, str]:
    """Return the prefixes of all layers of region graphs, by the graphs' names in the file and ours."""
    return {
        f"{theirs}.{part}": f"{ours}.{layer}"
        for theirs, ours in graphs.items()
        for part, layer in _GRAPH_LAYERS.items()
    }


_LAYERS = 4
_VSRN = {
    **_VSEPP,
    "0.img_rnn.": "read_regions.gru.",
    "0.bn.": "read_norm.",
    **_graph_prefixes({f"0.Rs_GCN_{layer + 1}": f"graph.{layer}" for layer in range(_LAYERS)}),
}


def vsrn_key(key: str) -> str | None:
    """Translate the name of a VSRN tensor, prefixed by its state dict's number; None where it is not VSRN's."""
    return translate_prefix(key, _VSRN)


@IMPORTERS.register("vsrn")
def import_vsrn(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' VSRN, with their norms over the regions; the file lacks the captioning branch.

    The authors publish two models. A batch norm of the picture's vector marks the one for `f30k_precomp`, which does
    not normalise the projected regions; the other one, for all other data, does.

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options; not needed.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    weights = squeeze_convolutions(rename_tensors(states, vsrn_key, source))
    flickr = "read_norm.weight" in weights
    config = VSRNConfig(
        **encoder_fields(VSRNConfig, weights, options, source),
        layers=_LAYERS,
        input_norm="none" if flickr else "region",
        node_norm="region",
        read_norm="batch" if flickr else "none",
    )
    return PublishedModel("vsrn", config, encoder_inputs(weights, source), weights)


_CGMN = {
    **_VSEPP,
    "0.img_rnn.": "read_regions.gru.",
    "0.bn.": "image_norm.",
    "1.decoder.": "read_words.gru.",
    **_graph_prefixes({f"0.GCN{number or ''}": f"semantic.{i}" for i, number in enumerate((0, 2, 3, 4))}),
    **_graph_prefixes({"0.relationGCN": "spatial.0", "0.relationGCN2": "spatial.1", "1.GCN": "word_graph"}),
}


def cgmn_key(key: str) -> str | None:
    """Translate the name of a CGMN tensor, prefixed by its state dict's number; None where it is not CGMN's."""
    return translate_prefix(key, _CGMN)


@IMPORTERS.register("cgmn")
def import_cgmn(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' CGMN, with their norm over the regions and their edge weights.

    Args:
        states: Image and text encoder's state dicts.
        options: The stored options; `if_IOU` tells whether the graph of boxes, where its weights are there, is used.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    weights = squeeze_convolutions(rename_tensors(states, cgmn_key, source))
    spatial = bool(options.get("if_IOU", True)) and any(name.startswith("spatial.") for name in weights)
    if not spatial:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("spatial.")}
    config = CGMNConfig(
        **encoder_fields(CGMNConfig, weights, options, source),
        semantic_layers=_LAYERS,
        spatial_layers=2 if spatial else 0,
        region_norm="region",
        edge_weight="published",
        batch_statistics="published",
    )
    return PublishedModel("cgmn", config, encoder_inputs(weights, source), weights)
