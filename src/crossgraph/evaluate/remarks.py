"""Warnings and notes about an evaluation, printed and saved in the card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossgraph.data.split import Split
from crossgraph.evaluate.protocol import Evaluation

_STATUS = {
    "re-interpretation": "a re-interpretation of its paper's abstract: its figures are not the paper's method's",
    "unverified": "built from a description, unverified against its authors' code",
}


def warnings_about(models: Sequence[dict[str, Any]], whole: Split) -> list[str]:
    """Return warnings: the split selected or trained the weights, or a model is counted twice.

    Args:
        models: Entries of `crossgraph.provenance.describe_run`.
        whole: The split evaluated.
    """
    fingerprint = whole.fingerprint()
    found: list[str] = []
    weights = [model["weights_sha256"] for model in models if model.get("weights_sha256")]
    if len(set(weights)) < len(weights):
        found.append("the same weights are named more than once: this is no ensemble of different models")
    for model in models:
        known = {str(name): str(value) for name, value in dict(model.get("trained_on") or {}).items()}
        chosen = str(dict(model.get("chosen_by") or {}).get("split", ""))
        same = [name for name, value in known.items() if value == fingerprint]
        if chosen and (chosen in same or (chosen == whole.name and chosen not in known)):
            found.append(
                f"{model['run']}: its checkpoint was chosen on this split ({chosen}), so the figures flatter it"
            )
        if "train" in same:
            found.append(f"{model['run']}: was trained on this split, so the figures say nothing about new pictures")
    return found


def notes_about(
    models: Sequence[dict[str, Any]], split: Split, evaluation: Evaluation, whole: Split | None = None
) -> list[str]:
    """Return notes: unverified models, other features, unknown selection, ties, images without captions.

    Args:
        models: Entries of `crossgraph.provenance.describe_run`.
        split: What was evaluated.
        evaluation: Its figures.
        whole: The split of which that is a part; by default all of it.
    """
    found: list[str] = []
    whole = whole or split
    for model in models:
        status = str(model.get("status") or "implemented")
        if status != "implemented":
            found.append(f"{model['run']}: '{model['model']}' is {_STATUS.get(status, status)}")
        encoder = model.get("region_encoder")
        if encoder and encoder != split.features.encoder:
            found.append(f"{model['run']}: trained on features of '{encoder}', evaluated on '{split.features.encoder}'")
        found += _word_edges(model, split)
        chosen = str(dict(model.get("chosen_by") or {}).get("split", "unknown"))
        if chosen.startswith("unknown"):
            found.append(f"{model['run']}: which split chose its checkpoint is unknown")
        found += _changed_data(model, whole)
    for direction, figures in (("i2t", evaluation.whole.i2t), ("t2i", evaluation.whole.t2i)):
        if figures.tied > 0:
            found.append(f"{direction}: ties decide the rank of {figures.tied:.2f} % of the queries")
    if evaluation.left_out:
        found.append(f"the last {evaluation.left_out:,} images stand in no slice: slices are of equal size")
    asked = evaluation.whole.i2t.queries
    if asked < evaluation.whole.images:
        count = evaluation.whole.images - asked
        found.append(f"{count:,} images have no caption: no i2t query, but answers that t2i can get wrong")
    return found


def _changed_data(model: dict[str, Any], whole: Split) -> list[str]:
    """Return a note where a split of this name chose or trained the model, but held other pictures then.

    Data that have grown since have another fingerprint, so that `warnings_about` cannot know them.
    """
    known = dict(model.get("trained_on") or {}).get(whole.name)
    if known in (None, whole.fingerprint()) or whole.name not in (
        "train",
        dict(model.get("chosen_by") or {}).get("split"),
    ):
        return []
    changed = f"{model['run']}: was trained when '{whole.name}' held other pictures or captions"
    return [f"{changed}; if these are the same data, changed since, the figures flatter it"]


def _word_edges(model: dict[str, Any], split: Split) -> list[str]:
    """Return the note about dependency edges, for models that use them."""
    if not model.get("word_edges"):
        return []
    edges: dict[str, str] = dict(model["word_edges"])
    trained, evaluated = _edges(edges["trained_with"]), _edges(split.edges_by or edges["sentences"])
    return [f"{model['run']}: its word graph: trained with {trained}, evaluated with {evaluated}"]


def _edges(made_by: str) -> str:
    return f"dependency edges ({made_by})" if made_by else "its config's fall-back for captions without edges"
