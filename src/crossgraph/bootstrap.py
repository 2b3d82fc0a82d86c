"""Bootstrap intervals of means whose items come in clusters.

What is measured on one image, or on its captions, succeeds or fails together, so that its items are not
independent. Whole clusters are drawn with replacement, each with all its items. Columns measured on the same items
see the same draws, so that their differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 1000
LEVEL = 95.0
_COUNTS_IN_MEMORY = 1 << 22


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        value: The mean over all items.
        low: Lower bound of the 95 % interval.
        high: Upper bound of it.
    """

    value: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        """Return both bounds, for JSON."""
        return [self.low, self.high]


def estimate(
    columns: Float[np.ndarray, "item column"], clusters: Int[np.ndarray, " item"], seed: int = 0
) -> list[Estimate]:
    """Return each column's mean with its interval, all columns under the same draws.

    Args:
        columns: What was measured, one row an item.
        clusters: The image of each item.
        seed: Of the draws.

    Raises:
        ValueError: There is no item.
    """
    if not len(columns):
        raise ValueError("nothing was measured")
    present, cluster = np.unique(clusters, return_inverse=True)
    sums, counts = cluster_sums(columns, cluster, len(present))
    means = np.concatenate([(drawn @ sums) / (drawn @ counts)[:, None] for drawn in draw_counts(len(present), seed)])
    low, high = interval(means)
    return [Estimate(float(m), float(a), float(b)) for m, a, b in zip(columns.mean(axis=0), low, high, strict=True)]


def cluster_sums(
    columns: Float[np.ndarray, "item column"], cluster: Int[np.ndarray, " item"], clusters: int
) -> tuple[Float[np.ndarray, "cluster column"], Float[np.ndarray, " cluster"]]:
    """Return each column's sum over the items of every cluster, and the number of items of every cluster.

    Args:
        columns: What was measured, one row an item.
        cluster: Number of each item's cluster.
        clusters: How many clusters there are.
    """
    sums = np.stack([np.bincount(cluster, column, clusters) for column in columns.T], axis=1)
    return sums, np.bincount(cluster, minlength=clusters).astype(np.float64)


def draw_counts(
    clusters: int, seed: int | Sequence[int], resamples: int = RESAMPLES, row_size: int | None = None
) -> Iterator[Float[np.ndarray, "resample cluster"]]:
    """Draw clusters with replacement; yield how often each is drawn, in chunks of resamples.

    Args:
        clusters: How many there are; as many are drawn.
        seed: Of the draws.
        resamples: How many times to draw.
        row_size: Numbers that the caller needs in memory for one resample, where they are more than the clusters.
    """
    random = np.random.default_rng(seed)
    step = max(1, _COUNTS_IN_MEMORY // max(clusters, row_size or 0))
    for start in range(0, resamples, step):
        rows = random.integers(0, clusters, (min(step, resamples - start), clusters))
        flat = (rows + np.arange(len(rows))[:, None] * clusters).ravel()
        yield np.bincount(flat, minlength=rows.size).reshape(rows.shape).astype(np.float64)


def interval(
    samples: Float[np.ndarray, " resample *column"], level: float = LEVEL
) -> tuple[Float[np.ndarray, " *column"], Float[np.ndarray, " *column"]]:
    """Return the bounds of the middle `level` percent of the samples, column by column."""
    tail = (100.0 - level) / 2
    low, high = np.percentile(samples, [tail, 100.0 - tail], axis=0)
    return low, high
