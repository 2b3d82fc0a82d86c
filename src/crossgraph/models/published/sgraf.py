"""Importers of SGRAF's and HSC's published checkpoints: HSC's similarity is SGRAF's attention filtration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.hsc import HSCConfig
from crossgraph.models.published.checkpoint import IMPORTERS, PublishedModel
from crossgraph.models.published.translation import (
    encoder_fields,
    encoder_inputs,
    rename_tensors,
    required_tensor,
    squeeze_convolutions,
    translate_prefix,
)
from crossgraph.models.sgraf import SAFConfig, SGRAFConfig, SGRConfig

# The published files: a list of three state dicts (image encoder, text encoder, similarity encoder).
_SGRAF = {
    "0.fc.": "project_regions.",
    "1.embed.": "encode_words.embedding.",
    "1.cap_rnn.": "encode_words.gru.",
    "2.v_global_w.embedding_local.0.": "visual_global.local.",
    "2.v_global_w.embedding_local.1.": "visual_global.local_norm.",
    "2.v_global_w.embedding_global.0.": "visual_global.summary.",
    "2.v_global_w.embedding_global.1.": "visual_global.summary_norm.",
    "2.v_global_w.embedding_common.0.": "visual_global.common.",
    "2.t_global_w.embedding_local.0.": "textual_global.local.",
    "2.t_global_w.embedding_global.0.": "textual_global.summary.",
    "2.t_global_w.embedding_common.0.": "textual_global.common.",
    "2.sim_tranloc_w.": "local_similarity.project.",
    "2.sim_tranglo_w.": "global_similarity.project.",
    "2.sim_eval_w.": "to_score.",
    "2.SAF_module.attn_sim_w.": "filtration.attend.",
    "2.SAF_module.bn.": "filtration.norm.",
}
_STEP = re.compile(r"2\.SGR_module\.(\d+)\.(graph_query_w|graph_key_w|sim_graph_w)\.(\w+)")
_STEP_LAYERS = {"graph_query_w": "query", "graph_key_w": "key", "sim_graph_w": "update"}


def sgraf_key(key: str) -> str | None:
    """Translate the name of an SGRAF tensor, prefixed by its state dict's number; None where it is not SGRAF's."""
    if step := _STEP.fullmatch(key):
        return f"reasoning.{step[1]}.{_STEP_LAYERS[step[2]]}.{step[3]}"
    return translate_prefix(key, _SGRAF)


@IMPORTERS.register("sgraf")
def import_sgraf(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' SGR or SAF checkpoint; the tensors say which of them it is.

    Args:
        states: Image, text and similarity encoder's state dicts.
        options: The stored options, read for the two norms.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    weights = rename_tensors(states, sgraf_key, source)
    saf = any(name.startswith("filtration.") for name in weights)
    steps = {int(name.split(".")[1]) for name in weights if name.startswith("reasoning.")}
    if saf and steps:
        raise InputError(f"{source}: has both an SGR and a SAF head", "give the authors' file of one of them")
    fields = _sgraf_fields(SGRAFConfig, weights, options, source)
    inputs = encoder_inputs(weights, source, _regions(weights, source))
    if saf:
        return PublishedModel("saf", SAFConfig(**fields), inputs, weights)
    return PublishedModel("sgr", SGRConfig(**fields, steps=len(steps)), inputs, weights)


def _sgraf_fields(
    config: type[SGRAFConfig], weights: Mapping[str, Tensor], options: Mapping[str, Any], source: str
) -> dict[str, Any]:
    sim_size = required_tensor(weights, "local_similarity.project.weight", source).shape[0]
    return {**encoder_fields(config, weights, options, source), "sim_size": sim_size, "region_norm": "region"}


def _regions(weights: Mapping[str, Tensor], source: str) -> int:
    """Return the fixed number of regions: the published batch norm runs over the region index."""
    return required_tensor(weights, "visual_global.local_norm.weight", source, axes=1).shape[0]


# HSC: a list of three state dicts too, or one dict of all tensors, with or without the names of the encoders in front.
_WRAPPERS = ("img_enc.", "txt_enc.", "sim_enc.")
_FIRST_WORDS = (("fc", "IM_GCN_"), ("embed", "W_att", "cap_rnn"))  # of the image's and the text's tensors
_GRAPH_LAYERS = {"g": "value", "W.0": "update", "W.1": "norm", "fc1": "mix_query", "fc2": "mix_key"}
_WORD_LAYERS = {"local": "local", "global": "overall", "v": "value"}
_GRAPH = re.compile(r"0\.IM_GCN_([1-9])\.(g|W\.0|W\.1|fc1|fc2|(?:theta|phi)[1-9]?)\.(\w+)")
_WORDS = re.compile(r"1\.W_att([1-9])\.embedding_(local|global|v)\.0\.(\w+)")
_HEAD = re.compile(r"(hierarchy\..*\.)(query|key)(\d*)(\.\w+)")


def _hsc_key(key: str) -> str | None:
    """Translate a name; the four heads of a projection become `query`, `query1` ..., for `_join_heads`."""
    if graph := _GRAPH.fullmatch(key):
        layer, part, last = int(graph[1]) - 1, graph[2], graph[3]
        ours = _GRAPH_LAYERS.get(part) or part.replace("theta", "query").replace("phi", "key")
        return f"hierarchy.{layer}.{ours}.{last}"
    if words := _WORDS.fullmatch(key):
        return f"encode_words.attention.{int(words[1]) - 1}.{_WORD_LAYERS[words[2]]}.{words[3]}"
    return sgraf_key(key.replace("2.cal_sim_base_atten.", "2.SAF_module."))


def _join_heads(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stack the heads of each projection in their order: linear layers with nothing between them are one."""
    heads: dict[str, dict[int, Tensor]] = {}
    for name, tensor in weights.items():
        head = _HEAD.fullmatch(name)
        joined, number = (f"{head[1]}{head[2]}{head[4]}", int(head[3] or 0)) if head else (name, 0)
        heads.setdefault(joined, {})[number] = tensor
    return {
        name: torch.cat([parts[number] for number in sorted(parts)]) if len(parts) > 1 else next(iter(parts.values()))
        for name, parts in heads.items()
    }


@IMPORTERS.register("hsc")
def import_hsc(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' HSC checkpoint.

    Args:
        states: Image, text and similarity encoder's state dicts, or one dict with the tensors of all three.
        options: The stored options, read for the two norms.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    renamed = rename_tensors(_split_by_encoder(states, source), _hsc_key, source)
    try:
        weights = _join_heads(squeeze_convolutions(renamed))
    except RuntimeError as error:
        raise InputError(f"{source}: the heads of a graph layer do not fit each other", "check the file") from error
    config = HSCConfig(
        **_sgraf_fields(HSCConfig, weights, options, source),
        region_layers=_count_layers(weights, r"hierarchy\.(\d+)\..*"),
        word_layers=_count_layers(weights, r"encode_words\.attention\.(\d+)\..*"),
    )
    return PublishedModel("hsc", config, encoder_inputs(weights, source, _regions(weights, source)), weights)


def _split_by_encoder(states: Sequence[Mapping[str, Tensor]], source: str) -> Sequence[Mapping[str, Tensor]]:
    """Return image, text and similarity encoder's tensors, in whichever layout the file holds them.

    Raises:
        InputError: Neither one state dict nor three.
    """
    if len(states) == 3:
        return states
    if len(states) != 1:
        raise InputError(f"{source}: holds {len(states)} state dicts, HSC's has 3", "is it an HSC checkpoint?")
    encoders: list[dict[str, Tensor]] = [{}, {}, {}]
    for key, tensor in states[0].items():
        name = next((key.removeprefix(wrapper) for wrapper in _WRAPPERS if key.startswith(wrapper)), key)
        name = name.removeprefix("module.")
        encoder = next((number for number, words in enumerate(_FIRST_WORDS) if name.startswith(words)), 2)
        encoders[encoder][name] = tensor
    return encoders


def _count_layers(weights: Mapping[str, Tensor], pattern: str) -> int:
    """Return the number of numbered layers; a gap in the numbers shows as a missing tensor later."""
    matches = [re.fullmatch(pattern, name) for name in weights]
    return max((int(match[1]) + 1 for match in matches if match), default=0)
