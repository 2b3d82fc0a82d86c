"""The best answers of every query, in an order that no sorting routine decides.

Higher scores first; equal scores in the order of rows or columns. (Ranks and recalls do not depend on
this: see `crossgraph.scoring.recall`.)
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.scoring.recall import ScoreRows, blocks

Best = tuple[Int64[np.ndarray, "query place"], Float[np.ndarray, "query place"]]


def best_captions(scores: ScoreRows, count: int) -> Best:
    """Return the columns and scores of every image's best captions.

    Args:
        scores: (images, captions), finite.
        count: Places; fewer where there are fewer captions.
    """
    found = [_best_of(block, count) for _, block in blocks(scores)]
    return np.concatenate([columns for columns, _ in found]), np.concatenate([values for _, values in found])


def best_images(scores: ScoreRows, count: int) -> Best:
    """Return the rows and scores of every caption's best images.

    Args:
        scores: (images, captions), finite.
        count: Places; fewer where there are fewer images.
    """
    images, captions = scores.shape
    rows, values = np.empty((captions, 0), np.int64), np.empty((captions, 0))
    for where, block in blocks(scores):
        new_rows, new_values = _best_of(np.ascontiguousarray(block.T), count)
        rows = np.concatenate([rows, new_rows + where.start], axis=1)
        values = np.concatenate([values, new_values], axis=1)
        order = np.lexsort((rows, -values), axis=1)[:, :count]
        rows, values = np.take_along_axis(rows, order, 1), np.take_along_axis(values, order, 1)
    assert rows.shape[1] == min(count, images)
    return rows, values


def _best_of(block: Float[np.ndarray, "query answer"], count: int) -> Best:
    """Return the best answers of each row: those above the row's count-th score, then the first that equal it."""
    queries, answers = block.shape
    count = min(count, answers)
    last = np.partition(block, answers - count, axis=1)[:, answers - count]
    query, answer = np.nonzero(block >= last[:, None])
    value = block[query, answer]
    order = np.lexsort((answer, -value, query))
    query, answer, value = query[order], answer[order], value[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=queries))[:-1]])
    take = starts[:, None] + np.arange(count)
    return answer[take], value[take].astype(np.float64)
