"""Chooses the queries of a report: those that a person names, a few spread over the split, and the worst ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.outcomes import Outcomes
from crossgraph.pipeline.alignment import encode_sentence
from crossgraph.report.views import View
from crossgraph.runs import Run
from crossgraph.vision.scan import SUFFIXES

Direction = Literal["t2i", "i2t"]
SPREAD = 3  # queries of each direction when none is named


@dataclass(frozen=True)
class Query:
    """A sentence or a picture that a report searches with.

    Attributes:
        direction: "t2i" asks with a sentence, "i2t" with a picture.
        row: Of the caption or picture in the split; None for a sentence that the split does not hold.
        text: The sentence; "" for a picture.
    """

    direction: Direction
    row: int | None
    text: str = ""


def choose_queries(given: Sequence[str], split: Split, runs: Sequence[Run]) -> list[Query]:
    """Return the queries that a person names, or else those of a few pictures spread over the split.

    Args:
        given: Rows of captions from 0 (the caption asks for pictures, its picture for captions), ids of
            pictures, or sentences.
        split: Where they are looked up.
        runs: Each must know a word of every sentence.

    Raises:
        InputError: A row or a picture's file that the split does not have, or a sentence of which a run knows no word.
    """
    if not given:
        return _spread(split)
    return list(dict.fromkeys(query for text in given for query in _parse(text, split, runs)))


def worst_queries(view: View, split: Split, count: int) -> list[Query]:
    """Return the queries of both directions whose right answer ranks lowest, the worst first."""
    t2i = [Query("t2i", row, str(split.captions[row])) for row in _lowest(view.evaluation.t2i, count)]
    return t2i + [Query("i2t", row) for row in _lowest(view.evaluation.i2t, count)]


def _lowest(outcomes: Outcomes, count: int) -> list[int]:
    order = np.argsort(-outcomes.rank, kind="stable")[:count]
    return [int(query) for query in outcomes.ranks.queries[order]]


def _parse(text: str, split: Split, runs: Sequence[Run]) -> list[Query]:
    """Return the queries that a text means: a row in the split, a picture's id, or a sentence."""
    asked = text.strip()
    if re.fullmatch(r"[+-]?\d+", asked):
        row = int(asked)
        if not 0 <= row < len(split.captions):
            raise InputError(
                f"--query {asked}: {split.source or split.name} has {len(split.captions):,} captions",
                f"give a row from 0 to {len(split.captions) - 1:,}",
            )
        return [_caption(row, split), Query("i2t", int(split.caption_image[row]))]
    if asked in split.image_ids:
        return [Query("i2t", list(split.image_ids).index(asked))]
    if Path(asked).suffix.lower() in SUFFIXES:
        raise InputError(f"--query {asked}: {split.source or split.name} has no such picture", "give one of its ids")
    for run in runs:
        try:
            encode_sentence(run.vocabulary, asked, run.path.name)
        except InputError as error:
            raise InputError(f"--query: {error.problem}", error.remedy) from error
    if asked in split.captions:
        return [_caption(list(split.captions).index(asked), split)]
    return [Query("t2i", None, asked)]


def _spread(split: Split) -> list[Query]:
    """Return a caption and the picture of a few pictures, evenly spread."""
    first = np.unique(split.caption_image, return_index=True)[1]
    chosen = first[np.unique(np.linspace(0, len(first) - 1, min(SPREAD, len(first))).round().astype(int))]
    captions = [_caption(int(row), split) for row in chosen]
    return captions + [Query("i2t", int(split.caption_image[row])) for row in chosen]


def _caption(row: int, split: Split) -> Query:
    return Query("t2i", row, str(split.captions[row]))
