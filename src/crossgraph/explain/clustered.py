"""Means with intervals when what is measured comes in clusters: words of one picture are not independent.

Pictures are drawn with replacement, each with all that was measured on it, as in
`crossgraph.evaluate.bootstrap`; columns measured on the same things see the same draw, so that differences
are paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 1000
LEVEL = 95.0
_DRAWN_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Estimate:
    """A mean and where it may lie.

    Attributes:
        value: The mean over all things.
        low: Of the 95 % interval.
        high: Of the 95 % interval.
    """

    value: float
    low: float
    high: float

    @property
    def interval(self) -> list[float]:
        """Low and high, for JSON."""
        return [self.low, self.high]


def estimate(
    columns: Float[np.ndarray, "item column"], clusters: Int[np.ndarray, " item"], seed: int = 0
) -> list[Estimate]:
    """Return each column's mean with its interval, all columns under the same draws.

    Args:
        columns: What was measured, an item a row.
        clusters: The picture of each item.
        seed: Of the draws.

    Raises:
        ValueError: There is no item.
    """
    if not len(columns):
        raise ValueError("nothing was measured")
    present, cluster = np.unique(clusters, return_inverse=True)
    counts = np.bincount(cluster, minlength=len(present)).astype(np.float64)
    sums = np.stack([np.bincount(cluster, column, len(present)) for column in columns.T], axis=1)
    random = np.random.default_rng(seed)
    step = max(1, _DRAWN_AT_ONCE // len(present))
    drawn: list[np.ndarray] = []
    for start in range(0, RESAMPLES, step):
        rows = random.integers(0, len(present), (min(step, RESAMPLES - start), len(present)))
        flat = (rows + np.arange(len(rows))[:, None] * len(present)).ravel()
        times = np.bincount(flat, minlength=rows.size).reshape(rows.shape)
        drawn.append((times @ sums) / (times @ counts)[:, None])
    tail = (100.0 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(drawn), [tail, 100.0 - tail], axis=0)
    means = columns.mean(axis=0)
    return [Estimate(float(m), float(a), float(b)) for m, a, b in zip(means, low, high, strict=True)]
