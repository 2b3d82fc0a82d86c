"""The cells of a table of models: one kept card a model and split, with what the run's folder alone would tell.

A kept card outlives the runs: it is committed, so that the page can be made and the missing cells be found without
training anything twice. Beside the card's own entries it has one called "table" (`describe`).
"""

from __future__ import annotations

import json
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.sources import score_runs
from crossgraph.files import read_json, read_text
from crossgraph.models.base import MODELS
from crossgraph.runs import Run, load_run
from crossgraph.scoring.encode import inference
from crossgraph.sweep.definition import Planned
from crossgraph.sweep.standing import Places, core_seconds
from crossgraph.train.config import FREE_ON_RESUME
from crossgraph.train.run_folder import first_difference

_HALF = 2  # bytes of a float16


def place(folder: Path, planned: Planned, split: str) -> Path:
    """Return where a cell's card is kept."""
    return folder / f"{planned.variant.name}-{split}.json"


def recipe_of(planned: Planned) -> dict[str, Any]:
    """Return what a cell's training computes, as plain values."""
    return {key: value for key, value in configs.to_dict(planned.recipe).items() if key not in FREE_ON_RESUME}


def kept(folder: Path, planned: Planned, split: str, fingerprint: str) -> dict[str, Any] | None:
    """Return a kept card, or None where there is none or it is broken.

    Args:
        folder: Of the kept cards.
        planned: The training it should be of.
        split: Which one was evaluated.
        fingerprint: Of that split.

    Raises:
        InputError: It is of another recipe or of other data; cards are never overwritten.
    """
    path = place(folder, planned, split)
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


def describe(planned: Planned, places: Places, card: Mapping[str, Any], split: Split) -> dict[str, Any]:
    """Return a cell's own entry: the model, its budget, and what it costs to train, to score and to keep.

    Args:
        planned: The training.
        places: Where the run and its log lie.
        card: Of its evaluation.
        split: What was evaluated.
    """
    folder = places.run(planned.variant, planned.seed)
    run = load_run(folder)
    steps, seconds = _trained(folder)
    return {
        "variant": planned.variant.name,
        "label": " ".join(planned.variant.label.split()),
        **about_model(planned),
        "recipe": recipe_of(planned),
        "budget": {"steps": steps, "batch": planned.recipe.batch, "pairs": steps and steps * planned.recipe.batch},
        "training_seconds": seconds,
        "training_core_seconds": core_seconds(places.log(planned.variant, planned.seed)),
        "pairs_per_second": _speed(card),
        "pairs_per_core_second": _speed_of_a_core(run, split),
        "picture": _bytes_of_a_picture(run, split),
    }


def about_model(planned: Planned) -> dict[str, str]:
    """Return a model's kind, status and paper."""
    family = MODELS[planned.recipe.model.name]
    return {"model": planned.recipe.model.name, "kind": family.kind, "status": family.status, "paper": family.paper}


def _trained(folder: Path) -> tuple[int | None, float | None]:
    """Return the steps and seconds of a training, as the last line of its log says."""
    try:
        last = json.loads(read_text(folder / "log.jsonl").splitlines()[-1])
        return int(last["step"]), float(last["seconds"])
    except (InputError, LookupError, ValueError, TypeError):
        return None, None


def _speed(card: Mapping[str, Any]) -> float | None:
    """Return pairs scored in a second, encoding both sides included."""
    seconds, data = card["seconds"]["scoring"], card["data"]
    return round(data["images"] * data["captions"] / seconds, 1) if seconds else None


def _speed_of_a_core(run: Run, split: Split) -> float:
    """Return pairs scored in a second of a processor's time, encoding included; other work hardly matters to it."""
    before = _processors()
    score_runs([run], split, torch.device("cpu"), "float32", None)
    return round(len(split.image_ids) * len(split.captions) / max(1e-3, _processors() - before), 1)


def _processors() -> float:
    """Return the processors' time of this process and of those it has waited for, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _bytes_of_a_picture(run: Run, split: Split) -> dict[str, Any]:
    """Return what an index keeps of a picture: 4 bytes a number of its vector, or 2 a number of its code."""
    with inference(run.model):
        code = run.model.encode_images(split.features.read(np.arange(1)))
    if run.model.kind == "independent" and code.index is not None:
        width = code.index.shape[-1]
        return {"bytes": 4 * width, "what": f"{width} × float32"}
    numbers = [code.local, *code.parts.values(), *([] if code.index is None else [code.index])]
    return {"bytes": sum(map(_halved, numbers)), "what": f"codes of {code.local.shape[-2]} regions, float16"}


def _halved(tensor: Tensor) -> int:
    return tensor.numel() * (_HALF if torch.is_floating_point(tensor) else tensor.element_size())
