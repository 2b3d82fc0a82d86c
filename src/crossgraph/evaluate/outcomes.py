"""Outcomes of every query, from which metrics, intervals and comparisons are computed.

Beside the hit rate that this field calls R@K stand true recall (the share of a query's right answers
among the first K) and mAP@R (precision averaged over the places of right answers among the first R,
R being the number of right answers). With one right answer a query, as from caption to image, recall
is the hit rate and mAP@R is R@1.

All three are means over the orders of equal scores ("expected"), or what the worst of them gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.scoring.recall import CUTOFFS, Ranks, ScoreRows, Ties, blocks, ranks


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of one direction's queries.

    Attributes:
        ranks: Where each query's best right answer stands.
        images: Row of the image that each query is or describes: queries of one image are not
            independent.
        rank: 0-based, by the rule for ties.
        hit: Probability that a right answer is among the first K, for K = 1, 5, 10.
        recall: Expected share of right answers among the first K.
        precision: Average precision over the first R places.
        ties: The rule.
    """

    ranks: Ranks
    images: Int64[np.ndarray, " query"]
    rank: Float[np.ndarray, " query"]
    hit: Float[np.ndarray, "query cutoff"]
    recall: Float[np.ndarray, "query cutoff"]
    precision: Float[np.ndarray, " query"]
    ties: Ties


@dataclass(frozen=True)
class Places:
    """Ranks of one query's right answers: one entry for each group of equal scores, best first.

    Attributes:
        above: Answers that score higher, right or wrong.
        tied: Answers with this score.
        right: Right answers among these.
    """

    above: Int64[np.ndarray, " group"]
    tied: Int64[np.ndarray, " group"]
    right: Int64[np.ndarray, " group"]


def outcomes(
    scores: ScoreRows, caption_image: Int64[np.ndarray, " caption"], ties: Ties = "expected"
) -> tuple[Outcomes, Outcomes]:
    """Return the outcomes of both directions.

    Args:
        scores: (images, captions), read in blocks of rows.
        caption_image: Row of the image that each caption describes.
        ties: How equal scores count.

    Returns:
        i2t and t2i.

    Raises:
        InputError: NaN or infinity in the scores, or a map that does not fit them.
    """
    i2t, t2i = ranks(scores, caption_image)
    order = np.argsort(caption_image, kind="stable")
    ends = np.searchsorted(caption_image[order], np.arange(scores.shape[0] + 1))
    recall, precision = np.zeros((len(i2t.queries), len(CUTOFFS))), np.zeros(len(i2t.queries))
    query = 0
    for rows, block in blocks(scores):
        for row, values in enumerate(np.sort(block, axis=1), start=rows.start):
            right = order[ends[row] : ends[row + 1]]
            if len(right):
                found = places(values, block[row - rows.start, right])
                recall[query] = [true_recall(found, cutoff, ties) for cutoff in CUTOFFS]
                precision[query] = average_precision(found, ties)
                query += 1
    one = _hits(t2i, ties)
    return (
        Outcomes(i2t, i2t.queries, i2t.rank(ties), _hits(i2t, ties), recall, precision, ties),
        Outcomes(t2i, caption_image[t2i.queries], t2i.rank(ties), one, one, one[:, 0], ties),
    )


def places(ascending: Float[np.ndarray, " answer"], right: Float[np.ndarray, " right"]) -> Places:
    """Return the ranks of one query's right answers.

    Args:
        ascending: Scores of all answers, sorted.
        right: Scores of the right ones.
    """
    groups, counts = np.unique(right, return_counts=True)
    groups, counts = groups[::-1], counts[::-1]
    after = np.searchsorted(ascending, groups, side="right")
    before = np.searchsorted(ascending, groups, side="left")
    return Places(len(ascending) - after, after - before, counts)


def true_recall(found: Places, cutoff: int, ties: Ties = "expected") -> float:
    """Return the expected share of a query's right answers among its first `cutoff`."""
    left = np.clip(cutoff - found.above, 0, found.tied)
    if ties == "worst":
        inside = np.clip(left - (found.tied - found.right), 0, None).astype(np.float64)
    else:
        inside = found.right * left / found.tied
    return float(inside.sum() / found.right.sum())


def average_precision(found: Places, ties: Ties = "expected") -> float:
    """Return mAP@R's term of one query: 1/R Σ_{k≤R} rel(k) · P(k).

    Place k is the j-th of a group of t equal scores, r of them right, b right answers having come
    before. In a random order E[rel(k) · Σ_{m≤k} rel(m)] = r/t · (1 + b + (j − 1)(r − 1)/(t − 1)); in the
    worst order the group's first t − r places are wrong and the others right.
    """
    last = int(found.right.sum())
    total, before = 0.0, 0
    for above, tied, right in zip(found.above.tolist(), found.tied.tolist(), found.right.tolist(), strict=True):
        for place in range(above + 1, min(above + tied, last) + 1):
            nth = place - above
            if ties == "worst":
                number = max(0, nth - (tied - right))
                total += (before + number) / place if number else 0.0
            else:
                others = (nth - 1) * (right - 1) / (tied - 1) if tied > 1 else 0.0
                total += right / tied * (1 + before + others) / place
        before += right
    return total / last


def _hits(found: Ranks, ties: Ties) -> Float[np.ndarray, "query cutoff"]:
    return np.stack([found.hit(cutoff, ties) for cutoff in CUTOFFS], axis=1)
