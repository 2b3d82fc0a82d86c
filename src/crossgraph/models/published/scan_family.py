"""Importers of SCAN's, BFAN's, IMRAM's, PFAN's, GSMN's and CAMP's published checkpoints: all have SCAN's encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, get_args

import torch
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.graphs.attend import AffinityNorm, Aggregation, AttentionDirection
from crossgraph.models.base import Inputs
from crossgraph.models.bfan import BFANConfig, Focus
from crossgraph.models.camp import CAMPConfig, Form
from crossgraph.models.gsmn import KERNELS, GSMNConfig
from crossgraph.models.imram import DIRECTIONS_OF, IMRAMConfig
from crossgraph.models.imram import Form as ImramForm
from crossgraph.models.pfan import PFANConfig
from crossgraph.models.published.checkpoint import IMPORTERS, PublishedModel
from crossgraph.models.published.translation import (
    UNUSED,
    encoder_fields,
    encoder_inputs,
    option_choice,
    option_number,
    rename_tensors,
    required_tensor,
    translate_prefix,
)
from crossgraph.models.scan import SCANConfig

# The published files hold one state dict an encoder: 0 the image's, 1 the text's; further ones come behind them.
_ENCODERS = {"0.fc.": "project_regions.", "1.embed.": "encode_words.embedding.", "1.rnn.": "encode_words.gru."}
_AFFINITY_NORMS: dict[str, AffinityNorm] = {norm: norm for norm in get_args(AffinityNorm)}
_AGGREGATIONS: dict[str, Aggregation] = {"LogSumExp": "lse", "Mean": "mean", "Max": "max", "Sum": "sum"}


def _scan_options(options: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the choices of a SCAN or PFAN, which leave no trace in its tensors.

    Raises:
        InputError: An unknown option; the l1norms of the attention cannot run in the authors' code.
    """
    directions: dict[str, AttentionDirection] = {"t2i": "t2i", "i2t": "i2t"}
    direction = option_choice(options, "cross_attn", directions, "t2i", source)
    return {
        "attention": direction,
        "smooth": option_number(options, "lambda_softmax", 9.0 if direction == "t2i" else 4.0, source),
        "affinity_norm": option_choice(options, "raw_feature_norm", _AFFINITY_NORMS, "clipped_l2norm", source),
        "aggregation": option_choice(options, "agg_func", _AGGREGATIONS, "mean", source),
        "aggregation_smooth": option_number(options, "lambda_lse", 6.0, source),
    }


@IMPORTERS.register("scan")
def import_scan(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' SCAN: image and text encoder; nothing is learned behind them.

    Raises:
        InputError: A tensor is missing or unknown, or an option is.
    """
    weights = rename_tensors(states, lambda key: translate_prefix(key, _ENCODERS), source)
    config = SCANConfig(**encoder_fields(SCANConfig, weights, options, source), **_scan_options(options, source))
    return PublishedModel("scan", config, encoder_inputs(weights, source), weights)


@IMPORTERS.register("bfan")
def import_bfan(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' BFAN: image and text encoder; the options say which focus it was trained with.

    Raises:
        InputError: A tensor is missing or unknown, or an option is.
    """
    weights = rename_tensors(states, lambda key: translate_prefix(key, _ENCODERS), source)
    focuses: dict[str, Focus] = {"equal": "equal", "prob": "prob"}
    config = BFANConfig(
        **encoder_fields(BFANConfig, weights, options, source),
        smooth=option_number(options, "lambda_softmax", 20.0, source),
        focus=option_choice(options, "focal_type", focuses, "prob", source),
    )
    return PublishedModel("bfan", config, encoder_inputs(weights, source), weights)


_IMRAM_FORMS: dict[str, ImramForm] = {f"{form}_IMRAM": form for form in get_args(ImramForm)}
_IMRAM = {
    "0.img_enc.fc_local.": "project_regions.",
    "0.txt_enc.embed.": "encode_words.embedding.",
    "0.txt_enc.rnn.": "encode_words.gru.",
    **{f"0.linear_{direction}.": f"memory.{direction}.update." for direction in ("t2i", "i2t")},
    **{f"0.gate_{direction}.": f"memory.{direction}.gate." for direction in ("t2i", "i2t")},
}


@IMPORTERS.register("imram")
def import_imram(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' IMRAM: one state dict of everything.

    The file holds the memories of both directions, whichever the form reads; the unread ones are left out. The form,
    the steps and λ are stored in the options alone.

    Raises:
        InputError: A tensor is missing or unknown, or an option is.
    """
    weights = rename_tensors(states, lambda key: translate_prefix(key, _IMRAM), source)
    config = IMRAMConfig(
        **encoder_fields(IMRAMConfig, weights, options, source),
        form=option_choice(options, "model_mode", _IMRAM_FORMS, "full", source),
        steps=int(option_number(options, "iteration_step", 3.0, source)),
        smooth=option_number(options, "lambda_softmax", 9.0, source),
        affinity_norm=option_choice(options, "raw_feature_norm", _AFFINITY_NORMS, "clipped_l2norm", source),
        memory_norm="none" if options.get("no_IMRAM_norm", True) else "l2",
    )
    directions = DIRECTIONS_OF[config.form] if config.steps > 1 else ()
    read = {k: v for k, v in weights.items() if not k.startswith("memory.") or k.split(".")[1] in directions}
    return PublishedModel("imram", config, encoder_inputs(weights, source), read)


_PFAN = {**_ENCODERS, "0.fc_att.": "position.query.", "0.position_embedding.": "position.embedding."}


@IMPORTERS.register("pfan")
def import_pfan(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' PFAN; the size of the grid is read from the number of block vectors.

    Raises:
        InputError: A tensor is missing, unknown or of an impossible shape, or an option is unknown.
    """
    weights = rename_tensors(states, lambda key: translate_prefix(key, _PFAN), source)
    entries, size = required_tensor(weights, "position.embedding.weight", source).shape
    grid = isqrt(entries - 1)
    if grid * grid + 1 != entries:
        raise InputError(f"{source}: {entries} vectors of blocks are no square grid and one more", "check the file")
    fields = encoder_fields(PFANConfig, weights, options, source) | _scan_options(options, source)
    features = required_tensor(weights, "position.query.weight", source).shape[-1]
    inputs = Inputs(features, encoder_inputs(weights, source).vocabulary_size)
    return PublishedModel("pfan", PFANConfig(**fields, position_size=size, grid=grid), inputs, weights)


_GSMN = {
    **_ENCODERS,
    "2.graph_convolution_1.": "kernels.",
    "2.out_1.": "visual_score.hidden.",
    "2.out_2.": "visual_score.out.",
    "3.graph_convolution_3.params": UNUSED,  # the text graph's edge parameters, which cannot change a score
    "3.out_1.": "textual_score.hidden.",
    "3.out_2.": "textual_score.out.",
}
_GSMN_KERNEL = re.compile(r"([23])\.graph_convolution_\d\.conv_weights\.(\d)\.(weight|bias)")


def _gsmn_key(key: str) -> str | None:
    if kernel := _GSMN_KERNEL.fullmatch(key):
        return f"{'visual' if kernel[1] == '2' else 'textual'}_graph.{kernel[3]}.{kernel[2]}"
    return translate_prefix(key, _GSMN)


@IMPORTERS.register("gsmn")
def import_gsmn(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' GSMN: image encoder, text encoder, visual graph, textual graph.

    The eight kernels' matrices of a side become one. Dense and sparse files are the same computation.

    Raises:
        InputError: A tensor is missing, unknown or of an impossible shape.
    """
    given = rename_tensors(states, _gsmn_key, source)
    weights = {name: tensor for name, tensor in given.items() if "_graph." not in name}
    weights = {name: t.flatten() if name.startswith("kernels.") else t for name, t in weights.items()}
    for name in ("visual_graph.weight", "textual_graph.weight", "textual_graph.bias"):
        axes = 2 if name.endswith("weight") else 1
        kernels = [required_tensor(given, f"{name}.{k}", source, axes) for k in range(KERNELS)]
        if len({tuple(kernel.shape) for kernel in kernels}) > 1:
            raise InputError(f"{source}: the kernels of a graph differ in shape", "check the file")
        weights[name] = torch.cat(kernels)
    hidden, blocks = weights["visual_graph.weight"].shape
    config = GSMNConfig(
        **encoder_fields(GSMNConfig, weights, options, source),
        smooth=option_number(options, "lambda_softmax", 20.0, source),
        sim_size=blocks,
        hidden_size=hidden,
    )
    return PublishedModel("gsmn", config, encoder_inputs(weights, source), weights)


# In the authors' names 1 is the picture and 2 the caption; "weighted_txt" acts on messages from words to regions.
_CAMP = {
    **_ENCODERS,
    "2.img_key_fc.": "region_key.",
    "2.txt_key_fc.": "word_key.",
    "2.img_query_fc.": "region_query.",
    "2.txt_query_fc.": "word_query.",
    "2.weighted_txt_query_fc.": "to_regions.message_query.",
    "2.weighted_txt_key_fc.": "to_regions.message_key.",
    "2.weighted_img_query_fc.": "to_words.message_query.",
    "2.weighted_img_key_fc.": "to_words.message_key.",
    "2.fc_1.0.": "to_regions.fuse.",
    "2.fc_2.0.": "to_words.fuse.",
    "2.fc_out.0.": "read_hidden.",
    "2.fc_out.3.": "read_out.",
    **{
        f"2.{name}_{number}.linear.{position}.": f"{side}.pool.{layer}."
        for name in ("reduce_layer", "final_reduce")
        for number, side in ((1, "to_regions"), (2, "to_words"))
        for position, layer in ((0, "hidden"), (2, "heads"))
    },
}


@IMPORTERS.register("camp")
def import_camp(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' CAMP: image encoder, text encoder, similarity of any of the four forms.

    Raises:
        InputError: A tensor is missing or unknown.
    """
    weights = rename_tensors(states, lambda key: translate_prefix(key, _CAMP), source)
    form: Form = "gate_fusion" if "read_hidden.weight" in weights else "cross_attention"
    if "to_regions.message_query.weight" in weights:
        form = "gate_fusion_new" if form == "gate_fusion" else "cross_attention_new"
    if options.get("measure", form) != form:
        raise InputError(f"{source}: its option measure is '{options['measure']}', its tensors are {form}'s", "check")
    config = CAMPConfig(
        **encoder_fields(CAMPConfig, weights, {"no_imgnorm": True, "no_txtnorm": True, **options}, source),
        form=form,
        word_average="published_50" if form == "cross_attention_new" else "real",
    )
    return PublishedModel("camp", config, encoder_inputs(weights, source), weights)
