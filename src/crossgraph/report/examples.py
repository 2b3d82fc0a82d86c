"""Builds the examples of a report: queries with their best answers, and with what every word looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from jaxtyping import Float

from crossgraph.data.split import Split
from crossgraph.report.page_data import PageData, Pair
from crossgraph.report.queries import Query
from crossgraph.report.views import View
from crossgraph.scoring.recall import blocks

BEST = 5
_CLOSING = set(".,;:!?")


@dataclass(frozen=True)
class Piece:
    """A part of a sentence: a word, or what is between two words.

    Attributes:
        text: As written.
        row: Of the weights; None for what is no word.
        known: Whether the vocabulary has the word.
        content: Whether it can name something seen.
        share: How much it counted, as a share of the sentence's strongest word, 0..1.
        sticks: Whether no line may end behind it: a comma or full stop follows.
    """

    text: str
    row: int | None = None
    known: bool = True
    content: bool = False
    share: float = 0.0
    sticks: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer to a query.

    Attributes:
        rank: From 1, in the order of scores.
        row: Of the picture (t2i) or the caption (i2t).
        score: Of the pair.
        right: Whether it belongs to the query.
        pair: What the words looked at, where the model can tell.
        pieces: The sentence of the pair.
        picture: Entry of the picture in the page's data.
    """

    rank: int
    row: int
    score: float
    right: bool
    pair: Pair | None
    pieces: list[Piece]
    picture: dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A query with its answers: the first few, and the best right one where it is not among them.

    Attributes:
        query: What was asked.
        answers: Best first.
        right_rank: Rank of the best right answer; None where the split holds none.
        lead: The answer whose pair is shown first.
        query_picture: Row of the picture that is the query; None for a sentence.
    """

    query: Query
    answers: list[Answer]
    right_rank: int | None
    lead: Answer
    query_picture: int | None


def make_example(query: Query, view: View, sentences: Sequence[str], split: Split, data: PageData) -> Example:
    """Return a query with the answers of one view.

    Args:
        query: What is asked.
        view: Whose scores rank the answers.
        sentences: Those that `view.sentence_scores` holds.
        split: Holds the answers.
        data: Takes the pairs and pictures that the page shows.
    """
    scores = _scores(query, view, sentences)
    right = _right_rows(query, split)
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    right_rank = next((rank for rank, row in enumerate(order, start=1) if row in right), None)
    ranks = list(range(1, min(BEST, len(order)) + 1))
    if right_rank is not None and right_rank > BEST:
        ranks.append(right_rank)
    query_picture = query.row if query.direction == "i2t" else None
    answers: list[Answer] = []
    for rank in ranks:
        row = order[rank - 1]
        image, sentence = (row, query.text) if query_picture is None else (query_picture, str(split.captions[row]))
        pair, picture = data.add_pair(view, image, sentence), data.add_picture(image)
        pieces = _pieces(sentence, pair)
        answers.append(Answer(rank, row, float(scores[row]), row in right, pair, pieces, picture))
    lead = next((answer for answer in answers if answer.right), answers[0])
    return Example(query, answers, right_rank, lead, query_picture)


def _scores(query: Query, view: View, sentences: Sequence[str]) -> Float[np.ndarray, " answer"]:
    if query.row is None:
        return view.sentence_scores[:, list(sentences).index(query.text)]
    if query.direction == "i2t":
        return np.asarray(view.scores[slice(query.row, query.row + 1)][0], dtype=np.float64)
    return np.concatenate([np.asarray(block[:, query.row], dtype=np.float64) for _, block in blocks(view.scores)])


def _right_rows(query: Query, split: Split) -> set[int]:
    if query.row is None:
        return set()
    if query.direction == "t2i":
        return {int(split.caption_image[query.row])}
    return set(np.flatnonzero(split.caption_image == query.row).tolist())


def _pieces(sentence: str, pair: Pair | None) -> list[Piece]:
    """Return the parts that together are the whole sentence."""
    if pair is None:
        return [Piece(sentence)]
    words = [(row, token) for row, token in enumerate(pair.tokens) if not token.special]
    most = max((float(pair.significance[row]) for row, _ in words), default=0.0) or 1.0
    pieces: list[Piece] = []
    end = 0
    for (row, token), following in zip_longest(words, (token for _, token in words[1:])):
        if token.start > end:
            pieces.append(Piece(sentence[end : token.start]))
        sticks = following is not None and following.start == token.end and following.text in _CLOSING
        share = float(pair.significance[row]) / most
        pieces.append(Piece(token.text, row, token.known, token.content, share, sticks))
        end = token.end
    if end < len(sentence):
        pieces.append(Piece(sentence[end:]))
    return pieces
