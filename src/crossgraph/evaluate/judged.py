"""Figures of a score matrix by external judgements: any set of right answers for any queries.

Ties are treated as in `crossgraph.evaluate.outcomes`, whose definitions of places, recall and mAP@R are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.evaluate.outcomes import Places, average_precision, places, true_recall
from crossgraph.progress import ProgressCallback
from crossgraph.scoring.recall import CUTOFFS, Ranks, ScoreRows, Ties, blocks

Right = Mapping[int, Sequence[int]]
"""Rows (or columns) of the right answers by column (or row) of the query, each once; -1 for each right answer that is
not in the gallery: it counts among the R of mAP@R and of R-precision, and is never found."""


@dataclass(frozen=True)
class Judged:
    """Judged queries of one direction, in the order of their rows or columns.

    Attributes:
        queries: Rows of the images, or columns of the captions, that asked.
        hit: Probability that a right answer is among the first K, for K = 1, 5, 10.
        r_precision: Expected share of right ones among the first R, R being the number of right answers.
        precision: Average precision over the first R: mAP@R's term.
    """

    queries: Int64[np.ndarray, " query"]
    hit: Float[np.ndarray, "query cutoff"]
    r_precision: Float[np.ndarray, " query"]
    precision: Float[np.ndarray, " query"]


def judge_images(
    scores: ScoreRows, sets: Sequence[Right], ties: Ties = "expected", report: ProgressCallback | None = None
) -> list[Judged]:
    """Evaluate images as queries by several sets of judgements at once.

    Args:
        scores: (images, captions), finite; read in blocks of rows.
        sets: Columns of the right captions by row of the image, at least one of them in the gallery; images that are
            not in a set do not ask.
        ties: How equal scores count.
        report: Called with progress.
    """
    found: list[dict[int, Places]] = [{} for _ in sets]
    for rows, block in blocks(scores):
        for row in range(rows.start, rows.stop):
            asked = [right.get(row) for right in sets]
            if any(asked):
                values = block[row - rows.start]
                ascending = np.sort(values)
                for own, columns in zip(found, asked, strict=True):
                    if columns:
                        there = np.array([column for column in columns if column >= 0])
                        found_here = places(ascending, values[there])
                        own[row] = _with_missing(found_here, len(columns) - len(there), len(values))
        if report is not None:
            report("images judged", rows.stop, scores.shape[0])
    return [_judged(own, ties) for own in found]


def judge_captions(scores: ScoreRows, sets: Sequence[Right], ties: Ties = "expected") -> list[Judged]:
    """Evaluate captions as queries, see `judge_images`; judgements hold rows of images by caption column.

    Two passes over the rows: the first takes the scores of the right pairs, the second counts what lies above.
    """
    pairs = np.array(sorted({(c, r) for right in sets for c, rows in right.items() for r in rows if r >= 0})).reshape(
        -1, 2
    )
    columns, rows_of = pairs[:, 0], pairs[:, 1]
    own: Float[np.ndarray, " pair"] | None = None
    for rows, block in blocks(scores):
        own = np.empty(len(pairs), dtype=block.dtype) if own is None else own
        here = (rows_of >= rows.start) & (rows_of < rows.stop)
        own[here] = block[rows_of[here] - rows.start, columns[here]]
    assert own is not None
    above, equal = np.zeros(len(pairs), np.int64), np.zeros(len(pairs), np.int64)
    for _, block in blocks(scores):
        for some in np.array_split(np.arange(len(pairs)), 1 + len(pairs) // max(1, block.shape[1])):
            values = block[:, columns[some]]
            above[some] += np.count_nonzero(values > own[some], axis=0)
            equal[some] += np.count_nonzero(values == own[some], axis=0)
    number = {(int(c), int(r)): k for k, (c, r) in enumerate(pairs.tolist())}
    found: list[Judged] = []
    for right in sets:
        all_places: dict[int, Places] = {}
        for column, asked in sorted(right.items()):
            mine = np.array([number[column, row] for row in asked if row >= 0])
            _, first, counts = np.unique(-own[mine], return_index=True, return_counts=True)  # best first
            there = Places(above[mine[first]], equal[mine[first]], counts)
            all_places[column] = _with_missing(there, len(asked) - len(mine), scores.shape[0])
        found.append(_judged(all_places, ties))
    return found


def _with_missing(found: Places, missing: int, answers: int) -> Places:
    """Rank right answers that are not in the gallery behind all that are."""
    if not missing:
        return found
    return Places(np.append(found.above, answers), np.append(found.tied, missing), np.append(found.right, missing))


def _judged(found: Mapping[int, Places], ties: Ties) -> Judged:
    queries = np.array(sorted(found), dtype=np.int64)
    all_places = [found[query] for query in queries.tolist()]
    above = np.array([one.above[0] for one in all_places], dtype=np.int64)
    right = np.array([one.right[0] for one in all_places], dtype=np.int64)
    tied = np.array([one.tied[0] for one in all_places], dtype=np.int64)
    ranks = Ranks(queries, above, tied - right, right)
    return Judged(
        queries=queries,
        hit=np.stack([ranks.hit(cutoff, ties) for cutoff in CUTOFFS], axis=1),
        r_precision=np.array([true_recall(one, int(one.right.sum()), ties) for one in all_places], dtype=np.float64),
        precision=np.array([average_precision(one, ties) for one in all_places], dtype=np.float64),
    )
