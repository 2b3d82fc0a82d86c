"""Accuracy within groups of near-identical pictures whose captions differ in one respect only.

In a gallery of unlike pictures, knowing which things there are finds most of them. Within a group that
knowledge is worth nothing: guessing gets one over the group's size. Asked both ways: which picture of the
group does a sentence describe, and which sentence describes a picture, among its own and those of the
same wording that its fellows have (caption k of each).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from crossgraph.bootstrap import RESAMPLES, interval
from crossgraph.core.errors import InputError


@dataclass(frozen=True)
class Contrast:
    """Accuracy within groups, in percent.

    Attributes:
        accuracy: Mean of the two directions.
        interval: Of `accuracy`, 95 %, groups resampled.
        i2t: The right sentence for a picture.
        t2i: The right picture for a sentence.
        chance: What guessing gets.
        groups: How many groups.
    """

    accuracy: float
    interval: tuple[float, float]
    i2t: float
    t2i: float
    chance: float
    groups: int


def contrast(
    scores: Float[np.ndarray, "img txt"],
    caption_image: Int64[np.ndarray, " caption"],
    groups: Sequence[Sequence[int]],
    seed: int = 0,
) -> Contrast:
    """Return how often the right picture and the right sentence win within their group.

    A tie counts as what a coin would give.

    Args:
        scores: Images × captions.
        caption_image: Row of the image that each caption describes.
        groups: Rows of the images of each group; their k-th captions belong together.
        seed: Of the bootstrap.

    Raises:
        InputError: No group, a group of one, or images of a group with different numbers of captions.
    """
    if not groups:
        raise InputError("there is no group of pictures to tell apart")
    outcomes = np.array([_within(scores, caption_image, rows) for rows in groups])
    both = outcomes.mean(axis=1)
    draws = np.random.default_rng(seed).integers(0, len(groups), (RESAMPLES, len(groups)))
    low, high = interval(100.0 * both[draws].mean(axis=1))
    i2t, t2i = 100.0 * outcomes.mean(axis=0)
    chance = 100.0 * float(np.mean([1 / len(rows) for rows in groups]))
    return Contrast(100.0 * float(both.mean()), (float(low), float(high)), float(i2t), float(t2i), chance, len(groups))


def _within(
    scores: Float[np.ndarray, "img txt"], caption_image: Int64[np.ndarray, " caption"], rows: Sequence[int]
) -> tuple[float, float]:
    """Return one group's accuracies, image to text and text to image, in 0..1."""
    columns = [np.flatnonzero(caption_image == row) for row in rows]
    if len(rows) < 2 or len({len(found) for found in columns}) != 1 or not len(columns[0]):
        raise InputError(
            f"pictures {list(rows)} make no group", "a group needs two pictures with equally many captions"
        )
    block = np.stack([scores[np.asarray(rows)[:, None], np.array(slot)] for slot in zip(*columns, strict=True)])
    right = np.eye(len(rows), dtype=bool)[None]
    return _wins(block, right, axis=2), _wins(block, right, axis=1)


def _wins(block: Float[np.ndarray, "slot img txt"], right: Bool[np.ndarray, "1 img txt"], axis: int) -> float:
    """Return how often the right answer along an axis is the best one, ties shared."""
    best = block == block.max(axis=axis, keepdims=True)
    return float(((best & right) / best.sum(axis=axis, keepdims=True)).sum(axis=axis).mean())
