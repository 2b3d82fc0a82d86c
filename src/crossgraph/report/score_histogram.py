"""Counts the scores of matched and of unmatched pairs over a whole score matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.scoring.recall import ScoreRows, blocks, right_scores

BINS = 40


@dataclass(frozen=True)
class Histogram:
    """Counts of pairs by score.

    Attributes:
        edges: Of the bins.
        matched: Pairs of a caption with its own picture.
        unmatched: All other pairs.
        medians: Of matched and of unmatched pairs' scores, the latter to within a bin.
    """

    edges: Float[np.ndarray, " edge"]
    matched: Int64[np.ndarray, " bin"]
    unmatched: Int64[np.ndarray, " bin"]
    medians: tuple[float, float]


def score_histogram(
    scores: ScoreRows, caption_image: Int64[np.ndarray, " caption"], bounds: tuple[float, float]
) -> Histogram:
    """Count every pair of a score matrix, block by block.

    Args:
        scores: Images × captions, finite.
        caption_image: Row of the image that each caption describes.
        bounds: Least and greatest score of the axis.
    """
    edges = np.linspace(*bounds, BINS + 1)
    right = right_scores(scores, caption_image).astype(np.float64)
    matched = _counts(right, edges)
    everything = np.zeros(BINS, dtype=np.int64)
    for _, block in blocks(scores):
        everything += _counts(np.asarray(block, dtype=np.float64).ravel(), edges)
    unmatched = everything - matched
    half = int(np.searchsorted(np.cumsum(unmatched), unmatched.sum() / 2)) if unmatched.sum() else 0
    center = float((edges[half] + edges[min(half + 1, BINS)]) / 2)
    return Histogram(edges, matched, unmatched, (float(np.median(right)), center))


def score_bounds(matrices: list[ScoreRows]) -> tuple[float, float]:
    """Return the least and greatest score of several matrices, never equal."""
    ends = [(float(block.min()), float(block.max())) for scores in matrices for _, block in blocks(scores)]
    low, high = min(least for least, _ in ends), max(most for _, most in ends)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _counts(values: Float[np.ndarray, " pair"], edges: Float[np.ndarray, " edge"]) -> Int64[np.ndarray, " bin"]:
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].astype(np.int64)
