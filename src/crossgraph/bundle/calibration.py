"""Map scores to probabilities of a match, after Platt (1999): P = 1 / (1 + exp(−(a·s + b))).

It is fitted on the short lists of a dev gallery, so it answers: of the pairs that nearest neighbours bring up
with such a score, how many were written for each other? A larger gallery brings up more near misses, so the
gallery's size and its share of matches are kept beside it. A caption may well fit other pictures than its
own, which the data does not know: the probability is a lower bound of "fits".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

MATCH = "the sentence was written for the picture"
_BINS = 10


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration curve and its reliability.

    Attributes:
        slope: a.
        offset: b.
        gallery: Pictures of the dev gallery.
        pairs: Pairs of the short lists it was fitted on.
        prior: Share of them that match.
        short_list: Pictures a short list held.
        expected_error: Mean gap between predicted and found share over the pairs' bins (cross-fitted: each half of
            the pictures judged by the other half's curve), 0..1.
        bins: Reliability: (mean predicted, share found, pairs) of each bin.
        definition: What "match" means.
    """

    slope: float
    offset: float
    gallery: int
    pairs: int
    prior: float
    short_list: int
    expected_error: float
    bins: tuple[tuple[float, float, int], ...]
    definition: str = MATCH

    def probability(self, scores: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Return P(match) of scores, float32 in 0..1, in the scores' order."""
        return sigmoid(self.slope * np.asarray(scores, dtype=np.float64) + self.offset).astype(np.float32)

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Calibration:
        """Return the object that `as_json` described.

        Raises:
            TypeError: A value is missing or unknown.
        """
        bins = tuple((float(a), float(b), int(n)) for a, b, n in values["bins"])
        return cls(**{**values, "bins": bins})


def calibrate(
    scores: Float[np.ndarray, " pair"],
    matches: Bool[np.ndarray, " pair"],
    cluster: np.ndarray,
    gallery: int,
    short_list: int,
) -> Calibration:
    """Fit a curve on all pairs, and evaluate it by two-fold cross-validation.

    Args:
        scores: Of the pairs of all short lists.
        matches: Whether each is a match; both kinds must occur.
        cluster: The picture each query belongs to: no picture is in both halves.
        gallery: Pictures of the gallery.
        short_list: Pictures of a short list.

    Raises:
        ValueError: All pairs are of one kind.
    """
    slope, offset = fit_platt(scores, matches)
    side = np.random.default_rng(0).permutation(int(cluster.max()) + 1)[cluster] % 2 == 0
    judged = np.empty(len(scores))
    for half in (side, ~side):
        other = ~half
        both = matches[other].any() and not matches[other].all()
        a, b = fit_platt(scores[other], matches[other]) if both else (slope, offset)
        judged[half] = sigmoid(a * scores[half] + b)
    bins = reliability(judged, matches)
    error = sum(abs(predicted - found) * count for predicted, found, count in bins) / len(scores)
    return Calibration(
        slope, offset, gallery, len(scores), float(matches.mean()), short_list, float(error), tuple(bins)
    )


def fit_platt(scores: Float[np.ndarray, " pair"], matches: Bool[np.ndarray, " pair"]) -> tuple[float, float]:
    """Return slope and offset of the logistic curve, by Newton's method on Platt's smoothed targets.

    Raises:
        ValueError: All pairs are of one kind, so that there is nothing to tell apart.
    """
    positive, negative = int(matches.sum()), int((~matches).sum())
    if not positive or not negative:
        raise ValueError("all pairs are of one kind")
    target = np.where(matches, (positive + 1) / (positive + 2), 1 / (negative + 2))
    middle, spread = float(scores.mean()), float(scores.std()) or 1.0
    x = np.column_stack([(scores.astype(np.float64) - middle) / spread, np.ones(len(scores))])
    weights = np.array([0.0, np.log((positive + 1) / (negative + 1))])
    for _ in range(100):
        p = sigmoid(x @ weights)
        gradient = x.T @ (p - target)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while _loss(x, weights - size * step, target) > _loss(x, weights, target) + 1e-12 and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if float(np.abs(size * step).max()) < 1e-10:
            break
    slope = float(weights[0]) / spread
    return slope, float(weights[1]) - slope * middle


def reliability(
    predicted: Float[np.ndarray, " pair"], matches: Bool[np.ndarray, " pair"]
) -> list[tuple[float, float, int]]:
    """Return (mean prediction, share of matches, pairs) of bins by rising prediction.

    Each bin holds about equally many matches as predicted, not pairs: nine tenths of a short list are hardly ever a
    match, and would leave one bin for all that matters.
    """
    order = np.argsort(predicted, kind="stable")
    middle = np.cumsum(predicted[order]) - predicted[order] / 2
    places = np.searchsorted(middle, np.arange(1, _BINS) * predicted.sum() / _BINS)
    parts = [part for part in np.split(order, places) if len(part)]
    return [(float(predicted[part].mean()), float(matches[part].mean()), len(part)) for part in parts]


def sigmoid(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return 1 / (1 + exp(−x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


def _loss(x: np.ndarray, weights: np.ndarray, target: np.ndarray) -> float:
    z = x @ weights
    return float((np.logaddexp(0, z) - target * z).sum())
