"""Bootstrap samples of an evaluation's figures, and their 95 % intervals.

The queries of one image (itself, and its captions) succeed and fail together, so images are drawn with
replacement, each with all its queries, and both directions see the same draw. The gallery stays: the
interval says how much the figures would move with other queries of the same kind, not with another
gallery. There is none for the median rank, which moves in whole steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.bootstrap import LEVEL, RESAMPLES, cluster_sums, draw_counts, interval
from crossgraph.evaluate.outcomes import Outcomes
from crossgraph.scoring.recall import CUTOFFS

_NAMES = [f"R@{k}" for k in CUTOFFS] + [f"recall@{k}" for k in CUTOFFS] + ["mAP@R", "meanR"]


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
    sums = {"i2t": _sums(i2t, present), "t2i": _sums(t2i, present)}
    drawn: dict[str, list[Float[np.ndarray, "resample figure"]]] = {"i2t": [], "t2i": []}
    for times in draw_counts(len(present), list(seed), resamples):
        for direction, (outcomes, queries) in sums.items():
            drawn[direction].append((times @ outcomes) / (times @ queries)[:, None])
    samples: dict[str, Float[np.ndarray, " resample"]] = {}
    for direction, parts in drawn.items():
        figures = np.concatenate(parts)
        samples |= {f"{direction} {name}": figures[:, column] for column, name in enumerate(_NAMES)}
    hits = [f"{direction} R@{cutoff}" for direction in sums for cutoff in CUTOFFS]
    samples["rSum"] = np.sum([samples[name] for name in hits], axis=0)
    return samples


def intervals(
    samples: dict[str, Float[np.ndarray, " resample"]], level: float = LEVEL
) -> dict[str, tuple[float, float]]:
    """Return the interval of every figure that holds the middle `level` percent of its samples."""
    bounds = {name: interval(values, level) for name, values in samples.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def mean_samples(
    parts: Sequence[dict[str, Float[np.ndarray, " resample"]]],
) -> dict[str, Float[np.ndarray, " resample"]]:
    """Return bootstrap samples of a mean over galleries: each gallery is resampled, then draws are averaged."""
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


def _sums(
    outcomes: Outcomes, present: Int64[np.ndarray, " image"]
) -> tuple[Float[np.ndarray, "image figure"], Float[np.ndarray, " image"]]:
    """Return the outcomes of each image's queries, summed (columns as `_NAMES`), and the number of queries."""
    parts = [100.0 * outcomes.hit, 100.0 * outcomes.recall, 100.0 * outcomes.precision, outcomes.rank + 1.0]
    return cluster_sums(np.column_stack(parts), np.searchsorted(present, outcomes.images), len(present))
