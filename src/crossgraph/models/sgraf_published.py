"""The authors' SGRAF checkpoints, translated to our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.models.base import Inputs
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys, refuse_unknown
from crossgraph.models.sgraf import SAFConfig, SGRAFConfig, SGRConfig

# The published files: a list of three state dicts (image encoder, text encoder, similarity encoder).
_ENCODER_KEYS = {
    **linear_keys("0.fc", "project_regions"),
    "1.embed.weight": "encode_words.embedding.weight",
    **linear_keys("2.v_global_w.embedding_local.0", "visual_global.local"),
    **linear_keys("2.v_global_w.embedding_global.0", "visual_global.summary"),
    **linear_keys("2.v_global_w.embedding_common.0", "visual_global.common"),
    **linear_keys("2.t_global_w.embedding_local.0", "textual_global.local"),
    **linear_keys("2.t_global_w.embedding_global.0", "textual_global.summary"),
    **linear_keys("2.t_global_w.embedding_common.0", "textual_global.common"),
    **linear_keys("2.sim_tranloc_w", "local_similarity.project"),
    **linear_keys("2.sim_tranglo_w", "global_similarity.project"),
    **linear_keys("2.sim_eval_w", "to_score"),
    **linear_keys("2.SAF_module.attn_sim_w", "filtration.attend"),
}
_PREFIXES = {
    "1.cap_rnn.": "encode_words.gru.",
    "2.v_global_w.embedding_local.1.": "visual_global.local_norm.",
    "2.v_global_w.embedding_global.1.": "visual_global.summary_norm.",
    "2.SAF_module.bn.": "filtration.norm.",
}
_STEP_LAYERS = {"graph_query_w": "query", "graph_key_w": "key", "sim_graph_w": "update"}


def our_key(key: str) -> str | None:
    """Translate the name of a tensor, prefixed by its state dict's number; None where it is not SGRAF's."""
    if key in _ENCODER_KEYS:
        return _ENCODER_KEYS[key]
    for theirs, ours in _PREFIXES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    parts = key.split(".")
    if len(parts) == 5 and parts[1] == "SGR_module" and parts[3] in _STEP_LAYERS:
        return f"reasoning.{parts[2]}.{_STEP_LAYERS[parts[3]]}.{parts[4]}"
    return None


@IMPORTERS.register("sgraf")
def import_sgraf(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' SGR or SAF checkpoint.

    Sizes, directions and the head are read from the tensors; `options` are asked only for what leaves no
    trace in them: the two norms.

    Args:
        states: Image, text and similarity encoder's state dicts.
        options: The stored options.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    flat = {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}
    weights = refuse_unknown(flat, our_key, source)
    saf = any(name.startswith("filtration.") for name in weights)
    steps = {int(name.split(".")[1]) for name in weights if name.startswith("reasoning.")}
    if saf and steps:
        raise InputError(f"{source}: has both an SGR and a SAF head", "give the authors' file of one of them")
    try:
        projection, embedding = weights["project_regions.weight"], weights["encode_words.embedding.weight"]
        sizes = SGRAFConfig(
            embed_size=projection.shape[0],
            word_size=embedding.shape[1],
            sim_size=weights["local_similarity.project.weight"].shape[0],
            text_direction="both" if "encode_words.gru.weight_ih_l0_reverse" in weights else "forward",
            image_norm="none" if options.get("no_imgnorm") else "l2",
            text_norm="none" if options.get("no_txtnorm") else "l2",
            region_norm="region",
        )
        regions = weights["visual_global.local_norm.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise InputError(f"{source}: lacks the tensor {error}", "is it an SGRAF checkpoint?") from error
    inputs = Inputs(projection.shape[1], embedding.shape[0], regions)
    if saf:
        return PublishedModel("saf", SAFConfig(**vars(sizes)), inputs, weights)
    return PublishedModel("sgr", SGRConfig(**vars(sizes), steps=len(steps)), inputs, weights)
