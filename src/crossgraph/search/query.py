"""A search query: words, a picture, or both; unwanted terms; a filter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, Range, Share
from crossgraph.pipeline.pictures import PictureLike
from crossgraph.store.filter_tree import Filter

MOST_WORDS = 200
"""A query of more words is no description of a picture, and would only take long."""
MOST_HITS = 1000
_MINUS = re.compile(r"(?:(?<=\s)|^)-(?:\"([^\"]+)\"|(\w[^\s\"]*))")


@dataclass(frozen=True)
class Query(CheckedSettings):
    """One query.

    Attributes:
        text: A description; may be empty where a picture or `like` is given.
        picture: A picture to look like.
        picture_weight: Share of the picture where both are given, 0..1.
        minus: What must not be in it, a few words each.
        where: What else must hold.
        like: Pictures of the library to look like.
        unlike: Pictures of the library not to look like.
        k: Hits wanted.
        min_probability: Hits below are left out; needs a calibrated model.
        recall: Share of the queries whose best picture the short list must hold, by dev.
        join_words: Whether words of captions and file names count too.
    """

    text: str = ""
    picture: PictureLike | None = None
    picture_weight: Share = 0.5
    minus: tuple[str, ...] = ()
    where: Filter | None = None
    like: tuple[int, ...] = ()
    unlike: tuple[int, ...] = ()
    k: Annotated[int, Range(least=1, most=MOST_HITS)] = 20
    min_probability: Share = 0.0
    recall: Annotated[float, Range(above=0, most=1)] | None = None
    join_words: bool = False

    def __post_init__(self) -> None:
        """Refuse a query that asks nothing, or too much.

        Raises:
            InputError: Nothing is asked, there are too many words, or a number is out of its range.
        """
        super().__post_init__()
        if not self.text.strip() and self.picture is None and not self.like:
            narrowed = bool(self.minus or self.unlike or self.where is not None)
            raise InputError(
                "a filter or a minus alone says nothing to rank by" if narrowed else "nothing is asked",
                "give a few words, such as 'two dogs in the snow', or a picture",
            )
        for text in (self.text, *self.minus):
            if len(text.split()) > MOST_WORDS or len(text) > 20 * MOST_WORDS:
                raise InputError(f"a query of {len(text.split()):,} words", f"give at most {MOST_WORDS}")
        if self.min_probability and not self.has_text:
            raise InputError("a least probability without words", "give words, or leave it out")

    @property
    def has_text(self) -> bool:
        """Whether there are words to score by."""
        return bool(self.text.strip())


def parse_query(text: str) -> tuple[str, tuple[str, ...]]:
    r"""Split "a beach -people -\"red car\"" into what is wanted and what is not."""
    minus = tuple(" ".join((quoted or word).split()) for quoted, word in _MINUS.findall(text))
    return " ".join(_MINUS.sub(" ", text).split()), tuple(dict.fromkeys(minus))


def blend(parts: list[tuple[float, np.ndarray]]) -> np.ndarray:
    """Return the unit vector of a weighted sum of unit vectors; the first where they cancel out."""
    total = np.sum([weight * vector for weight, vector in parts], axis=0)
    length = float(np.linalg.norm(total))
    return (total / length if length > 1e-6 else parts[0][1]).astype(np.float32)
