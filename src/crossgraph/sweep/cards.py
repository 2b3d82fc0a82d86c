"""Saved cards: one for each cell (variant, seed, split) of a page, with the figures that only the run has otherwise.

A kept card outlives its run: it can be committed, so that a page is made and its missing cells are found without
training anything twice. Beside the entries of an evaluation's card it has one called "table" (`describe`).
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.sources import score_runs
from crossgraph.files import read_json
from crossgraph.models.base import MODELS
from crossgraph.runs import Run, load_run
from crossgraph.scoring.encode import inference
from crossgraph.sweep.definition import Planned, Sweep
from crossgraph.sweep.run_status import SweepPaths, core_seconds, last_logged
from crossgraph.train.config import FREE_ON_RESUME
from crossgraph.train.run_folder import first_difference

Card = Mapping[str, Any]
Cell = tuple[str, int, str]
"""Variant, seed, split."""
MISSING = "?"
"""What a page says where there is no card yet."""
_HALF = 2  # bytes of a float16


@dataclass
class PageContent:
    """What a page is written from.

    Attributes:
        sweep: The variants, the seeds.
        planned: Every training, by variant and seed.
        splits: The splits that the page shows, the first one first.
        cards: The kept cards.
        problems: Why a variant failed just now, by its name.
        chosen: Of `versus`: the variant that dev chose; "" before.
        comparisons: Of `versus`: by split, as `paired_seeds.compare` returned them.
    """

    sweep: Sweep
    planned: Mapping[tuple[str, int], Planned]
    splits: Sequence[str]
    cards: dict[Cell, Card] = field(default_factory=dict[Cell, Card])
    problems: dict[str, str] = field(default_factory=dict[str, str])
    chosen: str = ""
    comparisons: dict[str, Any] = field(default_factory=dict[str, Any])

    def budget(self) -> str:
        """Return what each model was trained with, from its cards, or from its recipes where cards differ."""
        budgets = {tuple(card["table"]["budget"].values()) for card in self.cards.values()}
        if len(budgets) == 1:
            steps, batch, pairs = next(iter(budgets))
            return f"{pairs:,} seen pairs in {steps:,} steps of {batch}"
        recipes = {(planned.recipe.epochs, planned.recipe.batch) for planned in self.planned.values()}
        return " or ".join(f"{epochs} epochs in batches of {batch}" for epochs, batch in sorted(recipes))


def rsum(card: Card) -> float:
    """Return a card's rSum."""
    return float(card["results"]["whole"]["figures"]["rSum"])


def rsum_with_interval(card: Card) -> str:
    """Format a card's rSum with its 95 % interval."""
    low, high = card["results"]["whole"]["intervals"]["rSum"]
    return f"{rsum(card):.1f} ({low:.1f}–{high:.1f})"


def parameters(card: Card) -> str:
    """Format the number of parameters of a card's models."""
    return f"{sum(entry['parameters'] for entry in card['models']['entries']):,}"


def format_duration(seconds: float) -> str:
    """Format seconds: "21 s", "4 min 05 s"."""
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60:02d} s"


def card_path(folder: Path, planned: Planned, split: str) -> Path:
    """Return the path of a cell's kept card."""
    return folder / f"{planned.variant.name}-{split}.json"


def recipe_of(planned: Planned) -> dict[str, Any]:
    """Return the recipe fields that decide what a cell's training computes, as plain values."""
    return {key: value for key, value in configs.to_dict(planned.recipe).items() if key not in FREE_ON_RESUME}


def read_kept(folder: Path, planned: Planned, split: str, fingerprint: str) -> dict[str, Any] | None:
    """Return a kept card, or None where there is none or it is broken.

    Args:
        folder: Of the kept cards.
        planned: The training that it must be of.
        split: The evaluated split.
        fingerprint: Of that split.

    Raises:
        InputError: It is of another recipe or of other data; cards are never overwritten.
    """
    path = card_path(folder, planned, split)
    try:
        card = read_json(path)
        recipe, data = card["table"]["recipe"], card["data"]["fingerprint"]
        card["results"]["whole"]["figures"]["rSum"]
    except (InputError, KeyError, TypeError):
        return None
    remedy = f"remove {path} to measure it again, or give another --cards"
    if difference := first_difference(recipe, recipe_of(planned), ignore_new=True):
        name, old, new = difference
        raise InputError(f"{path}: was trained with {name} {old}, now it is {new}", remedy)
    if data != fingerprint:
        raise InputError(f"{path}: was measured on other pictures or captions than this '{split}'", remedy)
    return card


def describe(planned: Planned, paths: SweepPaths, card: Card, split: Split) -> dict[str, Any]:
    """Return a card's "table" entry: the model, its budget, and its cost in training, scoring and storage.

    Args:
        planned: The training.
        paths: Of its sweep.
        card: Of its evaluation.
        split: The evaluated split.
    """
    folder = paths.run(planned.variant, planned.seed)
    run = load_run(folder)
    last = last_logged(folder)
    steps = last.get("step")
    return {
        "variant": planned.variant.name,
        "label": " ".join(planned.variant.label.split()),
        **about_model(planned),
        "recipe": recipe_of(planned),
        "budget": {"steps": steps, "batch": planned.recipe.batch, "pairs": steps and steps * planned.recipe.batch},
        "training_seconds": last.get("seconds"),
        "training_core_seconds": core_seconds(paths.log(planned.variant, planned.seed)),
        "pairs_per_second": _speed(card),
        "pairs_per_core_second": _core_speed(run, split),
        "picture": _picture_size(run, split),
    }


def about_model(planned: Planned) -> dict[str, str]:
    """Return a model's kind, status and paper."""
    family = MODELS[planned.recipe.model.name]
    return {"model": planned.recipe.model.name, "kind": family.kind, "status": family.status, "paper": family.paper}


def _speed(card: Card) -> float | None:
    """Return pairs scored in a second, encoding both sides included."""
    seconds, data = card["seconds"]["scoring"], card["data"]
    return round(data["images"] * data["captions"] / seconds, 1) if seconds else None


def _core_speed(run: Run, split: Split) -> float:
    """Return pairs scored in a second of processor time, encoding included; other programs hardly change it."""
    before = _processor_seconds()
    score_runs([run], split, torch.device("cpu"), "float32", None)
    return round(len(split.image_ids) * len(split.captions) / max(1e-3, _processor_seconds() - before), 1)


def _processor_seconds() -> float:
    """Return the processor time of this process and of its ended children, in seconds."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _picture_size(run: Run, split: Split) -> dict[str, Any]:
    """Return the bytes that an index stores of a picture: float32 vectors, or codes in half precision."""
    with inference(run.model):
        code = run.model.encode_images(split.features.read(np.arange(1)))
    if run.model.kind == "independent" and code.index is not None:
        width = code.index.shape[-1]
        return {"bytes": 4 * width, "what": f"{width} × float32"}
    numbers = [code.local, *code.parts.values(), *([] if code.index is None else [code.index])]
    return {"bytes": sum(map(_half_bytes, numbers)), "what": f"codes of {code.local.shape[-2]} regions, float16"}


def _half_bytes(tensor: Tensor) -> int:
    return tensor.numel() * (_HALF if torch.is_floating_point(tensor) else tensor.element_size())
