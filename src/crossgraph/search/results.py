"""Results of a search: hits and timings."""

from __future__ import annotations

from dataclasses import dataclass

from crossgraph.pipeline.alignment import AlignedToken

GOOD = 0.5
"""From this probability on a hit is called a match."""


@dataclass(frozen=True)
class Timings:
    """Where a query's time went, in milliseconds."""

    encode: float
    nearest: float
    rerank: float
    total: float


@dataclass(frozen=True)
class Hit:
    """A picture that was found.

    Attributes:
        id: In the library.
        path: Where it lies; of several copies the first that exists now.
        score: What it is ordered by.
        probability: That the words were written for it, by dev; None where nothing is calibrated or no
            words were given.
        copies: Other pictures that look nearly the same, and other files of the same content that exist now.
        width: In pixels.
        height: In pixels.
        date: ISO, or None.
    """

    id: int
    path: str
    score: float
    probability: float | None
    copies: int
    width: int
    height: int
    date: str | None


@dataclass(frozen=True)
class Results:
    """Results of a query.

    Attributes:
        hits: The best first.
        tokens: How the model read the words.
        unknown: Words that it does not know.
        timings: Where the time went.
        short_list: Pictures that were re-ranked; 0 where the index score is final.
        wanted: Pictures that the recall target asks to re-rank in a library of this size; more than
            `short_list` where that is bounded.
        pictures: In the library.
        matching: Hits before they were cut to `k`.
        any_good: Whether a hit is more likely a match than not; where nothing is calibrated, whether there is any.
        notes: What else a person should know, in sentences.
    """

    hits: list[Hit]
    tokens: tuple[AlignedToken, ...]
    unknown: tuple[str, ...]
    timings: Timings
    short_list: int
    wanted: int
    pictures: int
    matching: int
    any_good: bool
    notes: tuple[str, ...] = ()
