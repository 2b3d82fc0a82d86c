"""The k best answers of every query: higher scores first, equal scores in the order of rows or columns.

Ranks and recalls do not depend on this order, see `crossgraph.scoring.recall`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int64

from crossgraph.scoring.recall import ScoreRows, blocks

Best = tuple[Int64[np.ndarray, "query rank"], Float[np.ndarray, "query rank"]]


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


class RunningTopK:
    """The best answers of each query, updated block by block: higher scores first, equal ones by answer number.

    Args:
        queries: Number of queries.
        count: Answers kept for each query, k.

    Attributes:
        answers: Numbers of the answers (queries, k); -1 where there are fewer so far.
        scores: Their scores; -infinity where there are fewer so far.
    """

    def __init__(self, queries: int, count: int) -> None:
        self.answers: Int64[np.ndarray, "query rank"] = np.full((queries, count), -1, np.int64)
        self.scores: Float32[np.ndarray, "query rank"] = np.full((queries, count), -np.inf, np.float32)

    def add(self, first_query: int, first_answer: int, scores: Float32[np.ndarray, "query answer"]) -> None:
        """Add the scores of consecutive queries with consecutive answers that were not added before."""
        rows = slice(first_query, first_query + len(scores))
        found, values = best_captions(scores, self.answers.shape[1])
        answers = np.concatenate([self.answers[rows], found + first_answer], axis=1)
        together = np.concatenate([self.scores[rows], values.astype(np.float32)], axis=1)
        order = np.lexsort((answers, -together), axis=1)[:, : self.answers.shape[1]]
        self.answers[rows] = np.take_along_axis(answers, order, 1)
        self.scores[rows] = np.take_along_axis(together, order, 1)
