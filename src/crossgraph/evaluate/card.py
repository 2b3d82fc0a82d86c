"""Result cards: every figure with all that a reviewer needs to trust it, as plain JSON values.

`card.json` is the card; `card.md` is made from it by `crossgraph.evaluate.table` and from nothing else.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossgraph.bootstrap import LEVEL
from crossgraph.data.split import Split
from crossgraph.evaluate.coco_measures import NO_IDS
from crossgraph.evaluate.protocol import Evaluation, Protocol
from crossgraph.evaluate.remarks import notes_about, warnings_about
from crossgraph.evaluate.sources import Source
from crossgraph.evaluate.table import markdown
from crossgraph.files import write_json, write_text
from crossgraph.provenance import all_versions, git_revision, hardware, pairs_fingerprint, typed_command
from crossgraph.scoring.recall import CUTOFFS

FORMAT_VERSION = 1
NO_ATTENTION = "score files hold no attention"


@dataclass(frozen=True)
class EvaluationContext:
    """Data, device and settings of an evaluation, for its card.

    Attributes:
        data: The data folder.
        features: The features folder, where one was named.
        whole: The split as the data has it.
        split: What was evaluated of it.
        dev_limit: Images it was cut to, or None.
        device: Where models ran; None for score files.
        precision: Of the matrix products; None for score files.
        seconds: Of the evaluation without the scoring.
        explanations: What `crossgraph.explain.measures.measure_explanations` found, or why it was not asked.
        coco: What `crossgraph.evaluate.coco_measures.measure_coco` found, or why it found nothing.
    """

    data: Path
    features: Path | None
    whole: Split
    split: Split
    dev_limit: int | None
    device: torch.device | None
    precision: str | None
    seconds: float
    explanations: dict[str, Any] = field(default_factory=lambda: {"absent": NO_ATTENTION})
    coco: dict[str, Any] = field(default_factory=lambda: {"absent": NO_IDS})


def build_card(
    sources: Sequence[Source], evaluation: Evaluation, protocol: Protocol, context: EvaluationContext
) -> dict[str, Any]:
    """Return the card of an evaluation.

    Args:
        sources: The matrices, whose mean was evaluated.
        evaluation: What came of it.
        protocol: How.
        context: Everything else.
    """
    models = [model for source in sources for model in source.models]
    remarks = [remark for source in sources for remark in source.remarks]
    return {
        "format_version": FORMAT_VERSION,
        "title": title(models),
        "models": {"count": len(models), "ensemble": len(models) > 1, "entries": models},
        "scores": [{"name": source.name, **source.origin} for source in sources],
        "data": _data(context),
        "protocol": _protocol(protocol, evaluation, context),
        "results": {
            "whole": evaluation.whole.as_json(),
            "slices": [figures.as_json() for figures in evaluation.slices],
            "slice_mean": evaluation.slice_mean.as_json() if evaluation.slice_mean else None,
        },
        "coco": context.coco,
        "explanations": context.explanations,
        "warnings": warnings_about(models, context.whole),
        "notes": remarks + notes_about(models, context.split, evaluation, context.whole) + _limit_notes(context),
        "chosen_by": [model.get("chosen_by") or {"split": "unknown"} for model in models],
        "seeds": {"training": [model.get("seed") for model in models], "bootstrap": protocol.seed},
        "seconds": {
            "scoring": round(sum(source.seconds for source in sources), 3),
            "evaluation": round(context.seconds, 3),
        },
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": typed_command(),
        "versions": all_versions(),
        "git_revision": git_revision(),
        "hardware": hardware(context.device),
        "precision": context.precision,
    }


def title(models: Sequence[dict[str, Any]]) -> str:
    """Return the models' name in tables: "sgr", or "sgr + saf (ensemble of 2)"."""
    names = [str(model["model"]) for model in models]
    names = [
        name if name != "unknown" else Path(str(model["run"])).stem for name, model in zip(names, models, strict=True)
    ]
    return names[0] if len(names) == 1 else f"{' + '.join(names)} (ensemble of {len(names)})"


def write_card(card: dict[str, Any], folder: Path, stem: str = "card") -> Path:
    """Write the card as JSON and Markdown into a folder, atomically.

    Args:
        card: As `build_card` gives it.
        folder: Made where missing.
        stem: "card", or "card-dev" for another split's.

    Returns:
        The JSON file.

    Raises:
        InputError: The folder cannot be written.
    """
    path = folder / f"{stem}.json"
    write_json(path, card)
    write_text(folder / f"{stem}.md", markdown(card))
    return path


def _data(context: EvaluationContext) -> dict[str, Any]:
    split = context.split
    counts = np.bincount(split.caption_image, minlength=len(split.image_ids))
    _, regions, width = split.features.shape
    return {
        "folder": str(context.data),
        "features": str(context.features) if context.features else None,
        "source": split.source,
        "split": split.name,
        "images": len(split.image_ids),
        "captions": len(split.captions),
        "captions_per_image": {"fewest": int(counts.min()), "most": int(counts.max())},
        "regions": regions,
        "feature_size": width,
        "region_encoder": split.features.encoder,
        "edges_by": split.edges_by,
        "fingerprint": context.whole.fingerprint(),
        "features_fingerprint": split.features.fingerprint(),
        "pairs_fingerprint": pairs_fingerprint(split),
    }


def _protocol(protocol: Protocol, evaluation: Evaluation, context: EvaluationContext) -> dict[str, Any]:
    return {
        "cutoffs": list(CUTOFFS),
        "ties": protocol.ties,
        "dev_limit": context.dev_limit,
        "slices": protocol.slices,
        "left_out": evaluation.left_out,
        "intervals": {
            "level": LEVEL,
            "method": "percentile bootstrap, clustered by image, gallery kept",
            "resamples": protocol.resamples,
            "seed": protocol.seed,
        },
    }


def _limit_notes(context: EvaluationContext) -> list[str]:
    if context.dev_limit is None:
        return []
    kept, whole = len(context.split.image_ids), len(context.whole.image_ids)
    if kept == whole:
        return [f"--dev-limit {context.dev_limit} cut nothing: the split has {whole:,} images"]
    return [f"cut to the split's first {kept:,} of {whole:,} images (--dev-limit), as published loaders cut dev"]
