"""Candidate expansion: predict from the pairs scored so far which others could enter the top k.

A retriever's errors belong mostly to a picture or a caption, not to a pair: it places one caption too high with every
picture. Once some pairs of every picture and caption are scored, these offsets can be estimated:

    estimate(image, caption) = slope · coarse score + offset of the image + offset of the caption

This is closer to the re-ranker's score than the coarse score is. A pair is scored too where its estimate comes within
a margin of the k-th best score of its caption or its picture. The margin is measured in standard deviations of the
estimate's error. So a query with clear best answers gets few more pairs, and a query with many similar answers gets
many. The procedure is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from crossgraph.memory import release_pages
from crossgraph.scoring.recall import CUTOFFS

FIRST_PICTURES, FIRST_CAPTIONS = 20, 40
"""Length of the first short lists: pictures of a caption, and captions of a picture."""
_BEST = max(CUTOFFS)
_SHRINKAGE = 3.0  # an offset from n pairs is multiplied by n / (n + 3)
_ROUNDS = 3  # of backfitting: slope, image offsets, caption offsets; later rounds change them by 0.1 %
_EDGE = 1e-6  # probabilities are clipped to [1e-6, 1 − 1e-6] before the logit
_ROWS = 64  # pictures per block


@dataclass(frozen=True)
class ScoreEstimate:
    """Estimates the re-ranker's score of any pair, and holds the k-th best scores so far.

    Attributes:
        slope: Factor of the coarse score.
        pictures: Offset of each picture.
        captions: Offset of each caption.
        deviation: Standard deviation of the estimate's error on the scored pairs.
        best_of_pictures: The k-th best score of each picture so far, k = 10; the lowest where there are fewer.
        best_of_captions: The same of each caption.
    """

    slope: float
    pictures: Float32[np.ndarray, " img"]
    captions: Float32[np.ndarray, " txt"]
    deviation: float
    best_of_pictures: Float32[np.ndarray, " img"]
    best_of_captions: Float32[np.ndarray, " txt"]

    def missing(
        self, near: Float32[np.ndarray, "img txt"], pictures: slice, captions: slice
    ) -> tuple[Float32[np.ndarray, "some_img some_txt"], Float32[np.ndarray, "some_img some_txt"]]:
        """Return how far estimates lie below the k-th best score of their captions, and of their pictures.

        Args:
            near: Coarse scores of all pairs.
            pictures: Rows of the block.
            captions: Its columns.
        """
        estimates = np.float32(self.slope) * near[pictures, captions]
        estimates += self.pictures[pictures, None] + self.captions[None, captions]
        return self.best_of_captions[None, captions] - estimates, self.best_of_pictures[pictures, None] - estimates


def estimate_scores(
    near: Float32[np.ndarray, "img txt"],
    chosen: Sequence[Int64[np.ndarray, " _"]],
    scores: Sequence[Float32[np.ndarray, " _"]],
) -> ScoreEstimate:
    """Fit slope and offsets to the scored pairs, by least squares with shrunken offsets.

    Args:
        near: Coarse scores of all pairs.
        chosen: Scored captions of each picture; every picture and every caption has some.
        scores: The re-ranker's; probabilities are replaced by their logits.
    """
    rows = np.repeat(np.arange(len(near)), [len(one) for one in chosen])
    columns, given = np.concatenate(chosen), np.concatenate(scores).astype(np.float64)
    if ((given >= 0) & (given <= 1)).all():
        given = np.clip(given, _EDGE, 1 - _EDGE)
        given = np.log(given / (1 - given))
    known = np.concatenate([near[row, some] for row, some in enumerate(chosen)]).astype(np.float64)
    release_pages(near)
    spread = known - known.mean()
    own = np.zeros(near.shape[0]), np.zeros(near.shape[1])
    slope, rest = 0.0, given
    for _ in range(_ROUNDS):
        slope = float(spread @ (given - own[0][rows] - own[1][columns])) / max(float(spread @ spread), 1e-12)
        rest = given - slope * known
        middle = rest.mean()
        of_pictures = _own(rest - middle - own[1][columns], rows, near.shape[0])
        own = of_pictures, _own(rest - middle - of_pictures[rows], columns, near.shape[1])
        rest = rest - middle - own[0][rows] - own[1][columns]
        own = own[0] + middle, own[1]
    return ScoreEstimate(
        slope,
        own[0].astype(np.float32),
        own[1].astype(np.float32),
        float(np.sqrt(np.mean(rest**2))),
        _kth_best(given, rows, near.shape[0]),
        _kth_best(given, columns, near.shape[1]),
    )


def expand_candidates(
    near: Float32[np.ndarray, "img txt"],
    guess: ScoreEstimate,
    chosen: Sequence[Int64[np.ndarray, " _"]],
    of_captions: float | None,
    of_pictures: float | None,
) -> list[Int64[np.ndarray, " _"]]:
    """Return for each picture the captions to score next.

    Args:
        near: Coarse scores of all pairs.
        guess: Fitted to the scored pairs.
        chosen: Captions of each picture that are scored already.
        of_captions: Margin below the k-th best score of a caption, in `guess.deviation`; None chooses all pairs.
        of_pictures: Margin below the k-th best score of a picture.
    """
    found: list[Int64[np.ndarray, " _"]] = []
    every = of_captions is None or of_pictures is None
    allowed = (of_captions or 0.0) * guess.deviation, (of_pictures or 0.0) * guess.deviation
    for first in range(0, len(near), _ROWS):
        below = guess.missing(near, slice(first, first + _ROWS), slice(None))
        wanted = np.ones_like(below[0], dtype=bool) if every else (below[0] < allowed[0]) | (below[1] < allowed[1])
        for row, scored in zip(wanted, chosen[first : first + _ROWS], strict=True):
            row[scored] = False
            found.append(np.flatnonzero(row))
        release_pages(near)
    return found


def _own(rest: Float[np.ndarray, " pair"], who: Int64[np.ndarray, " pair"], count: int) -> Float[np.ndarray, " who"]:
    """Return each one's mean, drawn towards 0 where it rests on few pairs."""
    return np.bincount(who, rest, count) / (np.bincount(who, minlength=count) + _SHRINKAGE)


def _kth_best(
    scores: Float[np.ndarray, " pair"], who: Int64[np.ndarray, " pair"], count: int
) -> Float32[np.ndarray, " who"]:
    order = np.lexsort((-scores, who))
    ends = np.searchsorted(who[order], np.arange(count + 1))
    at = np.minimum(ends[:-1] + _BEST, ends[1:]) - 1
    return scores[order][at].astype(np.float32)
