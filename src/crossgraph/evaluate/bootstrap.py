"""95 % intervals by resampling images.

The queries of one image (itself, and its captions) succeed and fail together, so images are drawn with
replacement, each with all its queries, and both directions see the same draw. The gallery stays: the
interval says how much the figures would move with other queries of the same kind, not with another
gallery. There is none for the median rank, which moves in whole steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.evaluate.outcomes import Outcomes
from crossgraph.scoring.recall import CUTOFFS

RESAMPLES = 1000
LEVEL = 95.0
_DRAWN_AT_ONCE = 1 << 22
_NAMES = [f"R@{k}" for k in CUTOFFS] + [f"recall@{k}" for k in CUTOFFS] + ["mAP@R", "meanR"]


@dataclass(frozen=True)
class Clusters:
    """One direction's outcomes summed over each image's queries.

    Attributes:
        queries: Queries of each image.
        sums: Their outcomes, summed; columns as `_NAMES`.
    """

    queries: Float[np.ndarray, " image"]
    sums: Float[np.ndarray, "image figure"]


def resample(
    i2t: Outcomes, t2i: Outcomes, seed: Sequence[int] = (0,), resamples: int = RESAMPLES
) -> dict[str, Float[np.ndarray, " resample"]]:
    """Draw images with replacement and compute the figures of every draw.

    Args:
        i2t: From image to captions.
        t2i: From caption to image.
        seed: Of the draws.
        resamples: How many.

    Returns:
        Samples by figure, named as in `crossgraph.evaluate.metrics.named`, and "rSum".
    """
    present = i2t.images
    both = {"i2t": _cluster(i2t, present), "t2i": _cluster(t2i, present)}
    drawn: dict[str, list[Float[np.ndarray, "resample figure"]]] = {"i2t": [], "t2i": []}
    random = np.random.default_rng(list(seed))
    images = len(present)
    step = max(1, _DRAWN_AT_ONCE // images)
    for start in range(0, resamples, step):
        times = draw(random, min(step, resamples - start), images)
        for direction, clusters in both.items():
            drawn[direction].append((times @ clusters.sums) / (times @ clusters.queries)[:, None])
    samples: dict[str, Float[np.ndarray, " resample"]] = {}
    for direction, parts in drawn.items():
        figures = np.concatenate(parts)
        samples |= {f"{direction} {name}": figures[:, column] for column, name in enumerate(_NAMES)}
    hits = [f"{direction} R@{cutoff}" for direction in both for cutoff in CUTOFFS]
    samples["rSum"] = np.sum([samples[name] for name in hits], axis=0)
    return samples


def intervals(
    samples: dict[str, Float[np.ndarray, " resample"]], level: float = LEVEL
) -> dict[str, tuple[float, float]]:
    """Return the middle `level` percent of every figure's samples."""
    tail = (100.0 - level) / 2
    bounds = {name: np.percentile(values, [tail, 100.0 - tail]) for name, values in samples.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def mean_samples(
    parts: Sequence[dict[str, Float[np.ndarray, " resample"]]],
) -> dict[str, Float[np.ndarray, " resample"]]:
    """Return the samples of a mean of galleries: each gallery drawn by itself, draw by draw averaged."""
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


def draw(random: np.random.Generator, resamples: int, images: int) -> Float[np.ndarray, "resample image"]:
    """Return how often each image is drawn."""
    drawn = random.integers(0, images, (resamples, images))
    flat = (drawn + np.arange(resamples)[:, None] * images).ravel()
    return np.bincount(flat, minlength=resamples * images).reshape(resamples, images).astype(np.float64)


def _cluster(found: Outcomes, present: Int64[np.ndarray, " image"]) -> Clusters:
    image = np.searchsorted(present, found.images)
    values = np.column_stack([100.0 * found.hit, 100.0 * found.recall, 100.0 * found.precision, found.rank + 1.0])
    columns = [np.bincount(image, values[:, column], len(present)) for column in range(values.shape[1])]
    return Clusters(np.bincount(image, minlength=len(present)).astype(np.float64), np.stack(columns, axis=1))
