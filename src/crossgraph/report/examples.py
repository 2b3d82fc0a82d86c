"""The best answers to chosen and to the worst queries, each with what every word looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from jaxtyping import Float

from crossgraph.data.split import Split
from crossgraph.report.overlays import Overlays, Pair
from crossgraph.report.queries import Query
from crossgraph.report.views import View
from crossgraph.scoring.recall import ScoreRows, blocks

BEST = 5
_CLOSING = set(".,;:!?")


@dataclass(frozen=True)
class Piece:
    """A part of a sentence: a word, or what stands between two.

    Attributes:
        text: As written.
        row: Of the weights; None for what is no word.
        known: Whether the vocabulary has the word.
        content: Whether it can name something seen.
        share: How much it counted, against the sentence's strongest word, 0..1.
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
    """One answer.

    Attributes:
        place: From 1, in the order of scores.
        row: Of the picture (t2i) or the caption (i2t).
        score: Of the pair.
        right: Whether it belongs to the query.
        pair: What the words looked at, where the model can tell.
        pieces: The sentence of the pair.
        picture: Entry of the picture in the page's data.
    """

    place: int
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
        right: Place of the best right answer; None where the split holds none.
        lead: The answer whose pair is shown first.
        asker: Row of the asking picture; None for a sentence.
    """

    query: Query
    answers: list[Answer]
    right: int | None
    lead: Answer
    asker: int | None


def make_example(query: Query, view: View, extra: Sequence[str], split: Split, overlays: Overlays) -> Example:
    """Answer one query.

    Args:
        query: What is asked.
        view: Who answers.
        extra: The sentences that `view.asked` holds.
        split: What can be answered.
        overlays: Collects the pairs.
    """
    scores = _scores(query, view, extra)
    order = np.argsort(-scores, kind="stable")
    right = _right_rows(query, split)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(1, len(order) + 1)
    shown = order[:BEST].tolist()
    best = min((int(places[row]) for row in right), default=None)
    if best is not None and best > BEST:
        shown.append(int(order[best - 1]))
    answers: list[Answer] = []
    for row in shown:
        image, sentence = (
            (row, query.text)
            if query.row is None or query.direction == "t2i"
            else (query.row, str(split.captions[row]))
        )
        pair = overlays.pair(view, image, sentence)
        picture = overlays.add_picture(image)
        pieces = _pieces(sentence, pair)
        answers.append(Answer(int(places[row]), row, float(scores[row]), row in right, pair, pieces, picture))
    lead = next((answer for answer in answers if answer.right), answers[0])
    return Example(query, answers, best, lead, query.row if query.direction == "i2t" else None)


def _scores(query: Query, view: View, extra: Sequence[str]) -> Float[np.ndarray, " answer"]:
    if query.row is None:
        return view.asked[:, list(extra).index(query.text)]
    if query.direction == "i2t":
        return np.asarray(view.scores[slice(query.row, query.row + 1)][0], dtype=np.float64)
    return _column(view.scores, query.row)


def _column(scores: ScoreRows, column: int) -> Float[np.ndarray, " img"]:
    return np.concatenate([np.asarray(block[:, column], dtype=np.float64) for _, block in blocks(scores)])


def _right_rows(query: Query, split: Split) -> set[int]:
    if query.row is None:
        return set()
    if query.direction == "t2i":
        return {int(split.caption_image[query.row])}
    return set(np.flatnonzero(split.caption_image == query.row).tolist())


def _pieces(sentence: str, pair: Pair | None) -> list[Piece]:
    if pair is None:
        return [Piece(sentence)]
    words = [(row, token) for row, token in enumerate(pair.tokens) if not token.special]
    most = max((float(pair.significance[row]) for row, _ in words), default=0.0) or 1.0

    def walk() -> Iterator[Piece]:
        end = 0
        following = [token for _, token in words[1:]]
        for (row, token), after in zip_longest(words, following):
            if token.start > end:
                yield Piece(sentence[end : token.start])
            sticks = after is not None and after.start == token.end and after.text in _CLOSING
            yield Piece(token.text, row, token.known, token.content, float(pair.significance[row]) / most, sticks)
            end = token.end
        if end < len(sentence):
            yield Piece(sentence[end:])

    return list(walk())
