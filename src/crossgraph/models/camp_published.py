"""The authors' CAMP checkpoints, translated to our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.camp import CAMPConfig, Form
from crossgraph.models.fragments import encoder_fields, encoder_inputs, encoder_key, translated
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys

# In the authors' names 1 is the picture and 2 the caption; "weighted_txt" acts on what words sent to regions.
_LAYERS = {
    "img_key_fc": "region_key",
    "txt_key_fc": "word_key",
    "img_query_fc": "region_query",
    "txt_query_fc": "word_query",
    "weighted_txt_query_fc": "to_regions.message_query",
    "weighted_txt_key_fc": "to_regions.message_key",
    "weighted_img_query_fc": "to_words.message_query",
    "weighted_img_key_fc": "to_words.message_key",
    "fc_1.0": "to_regions.fuse",
    "fc_2.0": "to_words.fuse",
    "fc_out.0": "read_hidden",
    "fc_out.3": "read_out",
    **{
        f"{name}_{number}.linear.{place}": f"{side}.pool.{layer}"
        for name in ("reduce_layer", "final_reduce")
        for number, side in ((1, "to_regions"), (2, "to_words"))
        for place, layer in ((0, "hidden"), (2, "heads"))
    },
}
_KEYS = {key: ours for theirs, name in _LAYERS.items() for key, ours in linear_keys(f"2.{theirs}", name).items()}


@IMPORTERS.register("camp")
def import_camp(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' checkpoint: image encoder, text encoder, similarity of any of the four forms.

    Raises:
        InputError: A tensor is missing or unknown.
    """
    weights = translated(states, lambda key: _KEYS.get(key) or encoder_key(key), source)
    gated = "read_hidden.weight" in weights
    twice = "to_regions.message_query.weight" in weights
    form: Form = "gate_fusion" if gated else "cross_attention"
    if twice:
        form = "gate_fusion_new" if gated else "cross_attention_new"
    if options.get("measure", form) != form:
        raise InputError(f"{source}: its option measure is '{options['measure']}', its tensors are {form}'s", "check")
    config = CAMPConfig(
        **encoder_fields(weights, {"no_imgnorm": True, "no_txtnorm": True, **options}, source),
        form=form,
        word_average="published_50" if form == "cross_attention_new" else "real",
    )
    return PublishedModel("camp", config, encoder_inputs(weights, source), weights)
