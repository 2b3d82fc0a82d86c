"""Choose block size and precision for scoring: measured once for each machine and model, then cached.

The cache is `crossgraph/scoring.json` in the user's cache folder. It affects only the speed (precision is chosen only
where "auto" was asked for), so a missing, broken or read-only cache is no error: the defaults are used, or sizes are
measured again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float32

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode
from crossgraph.data.split import Split
from crossgraph.data.subset import first_images
from crossgraph.files import read_json, write_json
from crossgraph.models.base import Matcher
from crossgraph.models.fast.form import Precision
from crossgraph.provenance import hardware
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.compatibility import check_fits
from crossgraph.scoring.encode import ImageBlocks, InMemory, SplitCodes, TextBucket, device_of, encode_captions
from crossgraph.scoring.engine import ScoringOptions, score_matrix
from crossgraph.text.vocabulary import Vocabulary

FORMAT_VERSION = 1
PrecisionChoice = Literal["auto", "float32", "bfloat16"]
DRIFT = 2e-3  # largest change of a score at which bfloat16 may be chosen
GAIN = 1.1  # least speed-up of bfloat16
BUDGETS = tuple(1 << power for power in range(21, 27))  # 2 to 64 MB
ACCELERATOR_BUDGETS = tuple(1 << power for power in range(27, 33))
WORTH_MEASURING = 300_000  # pairs: a quarter of an hour for slow models, a few seconds for the fastest
TRIAL_SECONDS = 40.0  # about, for all budgets together
_IMAGES, _CAPTIONS, _ROUNDS = 24, 120, 2
_FEWEST = 4  # captions


@dataclass(frozen=True)
class Tuned:
    """Measured speeds of a model on this machine.

    Attributes:
        budgets: The fastest block size in bytes, by precision.
        seconds: Time of a pair at that size, by precision.
        drift: Largest change of a score in bfloat16.
    """

    budgets: Mapping[str, int]
    seconds: Mapping[str, float]
    drift: float

    def precision(self) -> Precision:
        """Return bfloat16 where it is faster and exact enough, else float32."""
        gain = self.seconds["float32"] / max(1e-12, self.seconds["bfloat16"])
        return "bfloat16" if self.drift <= DRIFT and gain >= GAIN else "float32"


def choose_precision(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    precision: PrecisionChoice = "float32",
    block: int | None = None,
) -> tuple[Precision, BlockSize]:
    """Return precision and block size for a split: explicit, cached, measured now for large splits, or default.

    Args:
        model: On its device.
        vocabulary: The model's.
        split: What will be scored.
        precision: "auto" takes the measured choice, float32 where nothing was measured.
        block: Pairs per block, or None.

    Raises:
        InputError: A block below 1, or a split that does not fit the model.
    """
    if block is not None and block < 1:
        raise InputError(f"--block {block}: a block has at least 1 pair", "leave it out to have it chosen")
    check_fits(model.inputs, vocabulary, split, "the model")
    if model.kind == "independent":  # one matrix product: nothing to choose
        return "float32" if precision == "auto" else precision, BlockSize(pairs=block)
    if block is not None and precision != "auto":
        return precision, BlockSize(pairs=block)
    tuned = read_cached(model)
    if tuned is None and len(split.image_ids) * len(split.captions) >= WORTH_MEASURING:
        tuned = tune(model, *sample(model, vocabulary, split))
        write_cached(model, tuned)
    chosen: Precision = precision if precision != "auto" else "float32" if tuned is None else tuned.precision()
    budget = None if tuned is None else tuned.budgets.get(chosen)
    return chosen, BlockSize(budget, block)


def sample(model: Matcher, vocabulary: Vocabulary, split: Split) -> tuple[ImageCode, list[TextBucket]]:
    """Return codes of a split's first pictures, and of captions of its most common length."""
    some = first_images(split, min(_IMAGES, len(split.image_ids)))
    images = next(iter(ImageBlocks(model, some)))
    lengths = np.array([len(vocabulary.encode(caption).ids) for caption in split.captions[: 20 * _CAPTIONS]])
    commonest = np.flatnonzero(lengths == np.bincount(lengths).argmax())[:_CAPTIONS]
    rows = [int(row) for row in commonest]
    edges = None if split.edges is None else [split.edges[row] for row in rows]
    return images, encode_captions(model, vocabulary, [split.captions[row] for row in rows], edges=edges)


def tune(model: Matcher, images: ImageCode, texts: Sequence[TextBucket]) -> Tuned:
    """Measure every block size in both precisions.

    Args:
        model: On its device.
        images: Codes of some pictures.
        texts: Codes of some captions.
    """
    budgets = BUDGETS if device_of(model).type == "cpu" else ACCELERATOR_BUDGETS
    choices: tuple[Precision, ...] = ("float32", "bfloat16")
    taken: dict[tuple[Precision, int], float] = {}
    scores: dict[Precision, Float32[np.ndarray, "img txt"]] = {}
    texts = _in_time(model, images, texts, _ROUNDS * len(choices) * len(budgets))
    for _ in range(_ROUNDS):
        for precision in choices:
            for budget in budgets:
                began = time.perf_counter()
                found = score_codes(model, images, texts, precision, BlockSize(budget))
                spent = (time.perf_counter() - began) / found.size
                taken[precision, budget] = min(spent, taken.get((precision, budget), spent))
                scores[precision] = found
    best = {precision: min(budgets, key=lambda budget, p=precision: taken[p, budget]) for precision in choices}
    drift = float(np.abs(scores["float32"] - scores["bfloat16"]).max())
    return Tuned(dict(best), {precision: taken[precision, best[precision]] for precision in choices}, drift)


def _in_time(model: Matcher, images: ImageCode, texts: Sequence[TextBucket], trials: int) -> Sequence[TextBucket]:
    """Return as many captions as `runs` trials can score with the pictures in `TRIAL_SECONDS`."""
    few = [TextBucket(np.arange(count := min(_FEWEST, len(texts[0].captions))), texts[0].code.select(slice(0, count)))]
    score_codes(model, images, few, "float32", BlockSize())  # what is done but once is not timed
    began = time.perf_counter()
    score_codes(model, images, few, "float32", BlockSize())
    of_a_caption = (time.perf_counter() - began) / count
    allowed = int(TRIAL_SECONDS / max(1e-9, of_a_caption * trials))
    if allowed >= sum(len(bucket.captions) for bucket in texts):
        return texts
    count = min(max(_FEWEST, allowed), len(texts[0].captions))
    return [TextBucket(np.arange(count), texts[0].code.select(slice(0, count)))]


def score_codes(
    model: Matcher, images: ImageCode, texts: Sequence[TextBucket], precision: Precision, size: BlockSize
) -> Float32[np.ndarray, "img txt"]:
    """Score codes in memory as the engine scores a split."""
    return score_matrix(model, SplitCodes(InMemory([images]), texts), ScoringOptions(precision=precision, size=size))


def read_cached(model: Matcher) -> Tuned | None:
    """Return the cached speeds of a model on this machine, or None."""
    entry = _entries().get(_key(model))
    try:
        found = Tuned(**entry) if isinstance(entry, dict) else None  # pyright: ignore[reportUnknownArgumentType]
        usable = found is not None and all(
            found.budgets[name] > 0 and found.seconds[name] > 0 for name in ("float32", "bfloat16")
        )
        return found if usable and found is not None and found.drift >= 0 else None
    except (TypeError, KeyError, AttributeError):
        return None


def write_cached(model: Matcher, found: Tuned) -> None:
    """Cache measured speeds, if the cache folder can be written."""
    with contextlib.suppress(InputError, OSError, ValueError):
        entries = {**_entries(), _key(model): dataclasses.asdict(found)}
        write_json(cache_file(), {"format_version": FORMAT_VERSION, "entries": entries})


def cache_file() -> Path:
    """Return the path of the cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossgraph" / "scoring.json"


def _entries() -> dict[str, Any]:
    try:
        values: object = read_json(cache_file())
    except (InputError, OSError, RuntimeError, RecursionError):  # RuntimeError: no home folder
        return {}
    if not isinstance(values, dict):
        return {}
    kept = cast("dict[str, Any]", values)
    entries: object = kept.get("entries") if kept.get("format_version") == FORMAT_VERSION else None
    return cast("dict[str, Any]", entries) if isinstance(entries, dict) else {}


def _key(model: Matcher) -> str:
    """Return the cache key of this machine and the model's sizes."""
    device = device_of(model)
    parts = [hardware(device), torch.get_num_threads(), torch.__version__, type(model).__name__]
    parts += [dataclasses.asdict(model.config), dataclasses.asdict(model.inputs)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
