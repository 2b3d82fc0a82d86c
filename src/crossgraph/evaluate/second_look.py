"""The second look of a cascade: which pairs may still be among the best, guessed from those that were scored first.

What brings pairs up (an index, a sieve) errs by pictures and by captions more than by pairs: it holds one caption too
high wherever it meets it. Once some pairs of every picture and caption are scored, these errors are known, so that

    guess(image, caption) = slope · nearness + image's own + caption's own

is nearer to the re-ranker than nearness is. A pair deserves a second look where its guess comes near the tenth best
score of its caption or of its picture; near means within a margin, in deviations of the guesses from what was scored.
So a query whose best stand out gets few pairs, and one among equals gets many. The procedure is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from crossgraph.memory import release_pages
from crossgraph.scoring.recall import CUTOFFS

FIRST_PICTURES, FIRST_CAPTIONS = 20, 40
"""Pairs that are scored first: the nearest so many pictures of a caption, and captions of a picture."""
_BEST = max(CUTOFFS)
_DOUBT = 3.0  # an own part of so many scored pairs is believed by half
_ROUNDS = 3  # of slope, pictures, captions; what is left moves by a thousandth then
_EDGE = 1e-6  # of probabilities, before their logits are taken
_ROWS = 64  # pictures looked at in one go


@dataclass(frozen=True)
class Guess:
    """What the re-ranker would say of any pair, and what is worth asking it.

    Attributes:
        slope: Of nearness.
        pictures: Each picture's own part.
        captions: Each caption's.
        deviation: Root of the mean square by which guesses differ from the scores they were made from.
        best_of_pictures: The tenth best score of each picture so far; the least one where there are fewer.
        best_of_captions: Of each caption.
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
        """Return how far the guesses of a block lie below the tenth best of their captions, and of their pictures.

        Args:
            near: Of all pairs.
            pictures: Rows of the block.
            captions: Its columns.
        """
        guesses = np.float32(self.slope) * near[pictures, captions]
        guesses += self.pictures[pictures, None] + self.captions[None, captions]
        return self.best_of_captions[None, captions] - guesses, self.best_of_pictures[pictures, None] - guesses


def guess_from(
    near: Float32[np.ndarray, "img txt"],
    chosen: Sequence[Int64[np.ndarray, " _"]],
    scores: Sequence[Float32[np.ndarray, " _"]],
) -> Guess:
    """Learn from the pairs that were scored first.

    Args:
        near: Of all pairs.
        chosen: Captions of each picture that were scored; every picture and every caption has some.
        scores: The re-ranker's; probabilities are compared by their logits.
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
    return Guess(
        slope,
        own[0].astype(np.float32),
        own[1].astype(np.float32),
        float(np.sqrt(np.mean(rest**2))),
        _tenth_best(given, rows, near.shape[0]),
        _tenth_best(given, columns, near.shape[1]),
    )


def second_look(
    near: Float32[np.ndarray, "img txt"],
    guess: Guess,
    chosen: Sequence[Int64[np.ndarray, " _"]],
    of_captions: float | None,
    of_pictures: float | None,
) -> list[Int64[np.ndarray, " _"]]:
    """Return for each picture the captions to score with it besides those that were.

    Args:
        near: Of all pairs.
        guess: Learned from those that were scored.
        chosen: These.
        of_captions: Margin below the tenth best of a caption, in the guess's deviations; None: all pairs.
        of_pictures: Below that of a picture.
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
    return np.bincount(who, rest, count) / (np.bincount(who, minlength=count) + _DOUBT)


def _tenth_best(
    scores: Float[np.ndarray, " pair"], who: Int64[np.ndarray, " pair"], count: int
) -> Float32[np.ndarray, " who"]:
    order = np.lexsort((-scores, who))
    ends = np.searchsorted(who[order], np.arange(count + 1))
    at = np.minimum(ends[:-1] + _BEST, ends[1:]) - 1
    return scores[order][at].astype(np.float32)
