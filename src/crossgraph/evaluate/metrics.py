"""Compute the figures of a gallery from its queries' outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from crossgraph.evaluate.outcomes import Outcomes
from crossgraph.scoring.recall import CUTOFFS, percent, summarise

Interval = tuple[float, float]


@dataclass(frozen=True)
class DirectionFigures:
    """Answers of one direction.

    Attributes:
        hit: R@K, the share of queries with a right answer among the first K, in percent.
        recall: True recall@K: the mean share of right answers among the first K, in percent.
        map_r: mAP@R, in percent.
        median_rank: Floor of the median 0-based rank, plus 1; a mean of slices may be fractional.
        mean_rank: Mean 0-based rank, plus 1.
        queries: How many were asked.
        tied: Share of queries whose rank a tie decides, in percent.
    """

    hit: dict[int, float]
    recall: dict[int, float]
    map_r: float
    median_rank: float
    mean_rank: float
    queries: int
    tied: float


@dataclass(frozen=True)
class Figures:
    """Figures of one gallery, or the mean of several.

    Attributes:
        gallery: What was searched: "all 1,000 images", "slice 2 of 5".
        images: Its images.
        captions: Its captions.
        i2t: From image to captions.
        t2i: From caption to image.
        rsum: Sum of the six R@K.
        intervals: 95 % intervals by figure's name, as in `named`.
    """

    gallery: str
    images: int
    captions: int
    i2t: DirectionFigures
    t2i: DirectionFigures
    rsum: float
    intervals: dict[str, Interval]

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON: every figure by name, with its interval."""
        figures = named(self.i2t, "i2t") | named(self.t2i, "t2i") | {"rSum": self.rsum}
        return {
            "gallery": self.gallery,
            "images": self.images,
            "captions": self.captions,
            "queries": {"i2t": self.i2t.queries, "t2i": self.t2i.queries},
            "figures": figures,
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
        }


def named(figures: DirectionFigures, direction: str) -> dict[str, float]:
    """Return a direction's figures by their names on cards: "i2t R@1", "t2i mAP@R", ..."""
    values = {f"R@{cutoff}": value for cutoff, value in figures.hit.items()}
    values |= {f"recall@{cutoff}": value for cutoff, value in figures.recall.items()}
    values |= {"mAP@R": figures.map_r, "medR": figures.median_rank, "meanR": figures.mean_rank, "tied": figures.tied}
    return {f"{direction} {name}": value for name, value in values.items()}


def direction_figures(found: Outcomes) -> DirectionFigures:
    """Return the figures of one direction's outcomes."""
    plain = summarise(found.ranks, found.ties)
    return DirectionFigures(
        hit=plain.recall,
        recall={cutoff: percent(found.recall[:, i]) for i, cutoff in enumerate(CUTOFFS)},
        map_r=percent(found.precision),
        median_rank=plain.median_rank,
        mean_rank=plain.mean_rank,
        queries=plain.queries,
        tied=plain.tied,
    )


def mean_figures(gallery: str, parts: Sequence[Figures], samples: dict[str, Float[np.ndarray, " resample"]]) -> Figures:
    """Return the plain mean of several galleries' figures.

    Args:
        gallery: What to call it.
        parts: The galleries.
        samples: The mean's own bootstrap samples, see `crossgraph.evaluate.bootstrap`.
    """
    from crossgraph.evaluate.bootstrap import intervals

    return Figures(
        gallery=gallery,
        images=sum(part.images for part in parts),
        captions=sum(part.captions for part in parts),
        i2t=_mean_direction([part.i2t for part in parts]),
        t2i=_mean_direction([part.t2i for part in parts]),
        rsum=_mean([part.rsum for part in parts]),
        intervals=intervals(samples),
    )


def _mean_direction(parts: Sequence[DirectionFigures]) -> DirectionFigures:
    return DirectionFigures(
        hit={cutoff: _mean([part.hit[cutoff] for part in parts]) for cutoff in CUTOFFS},
        recall={cutoff: _mean([part.recall[cutoff] for part in parts]) for cutoff in CUTOFFS},
        map_r=_mean([part.map_r for part in parts]),
        median_rank=_mean([part.median_rank for part in parts]),
        mean_rank=_mean([part.mean_rank for part in parts]),
        queries=sum(part.queries for part in parts),
        tied=_mean([part.tied for part in parts]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
