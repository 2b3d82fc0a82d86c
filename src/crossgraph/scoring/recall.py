"""Ranks and recalls of a score matrix, shared by training and evaluation.

A query whose best right answer ties with wrong ones counts with the probability of a hit when equal scores are put in
random order ("expected"), or as if every wrong answer came first ("worst"). Column order never decides. NaN and
infinity are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int64

from crossgraph.core.errors import InputError

Ties = Literal["expected", "worst"]
CUTOFFS = (1, 5, 10)
BLOCK_VALUES = 1 << 22  # scores looked at in one go: 16 MB of float32, however large the matrix


class NonFiniteScore(InputError):
    """A score is NaN or infinite.

    Attributes:
        image: Row of its image.
        caption: Column of its caption.
        value: Its value, "NaN", "+infinity" or "-infinity".
    """

    def __init__(self, image: int, caption: int, value: str) -> None:
        self.image, self.caption, self.value = image, caption, value
        super().__init__(
            f"the score of image {image} with caption {caption} (both from 0) is {value}",
            "the model has diverged or overflowed; score in float32 or choose an earlier checkpoint",
        )

    def __reduce__(self) -> tuple[type[NonFiniteScore], tuple[int, int, str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Support pickling between processes."""
        return type(self), (self.image, self.caption, self.value)

    def named(self, source: str, image_ids: Sequence[str], captions: Sequence[str]) -> InputError:
        """Return the same error with the file, the image's id and the caption's text."""
        text = captions[self.caption]
        short = text if len(text) <= 80 else text[:79] + "…"
        return InputError(
            f"{source}: the score of image '{image_ids[self.image]}' with the caption \"{short}\" is {self.value}",
            self.remedy,
        )


def refuse_nonfinite(block: Float[np.ndarray, "img txt"], first_row: int = 0) -> None:
    """Check that every score of a block is finite.

    Args:
        block: Consecutive rows of a score matrix.
        first_row: Row of the block's first.

    Raises:
        NonFiniteScore: Otherwise, naming the first in reading order.
    """
    if np.isfinite(block).all():
        return
    image, caption = (int(index) for index in np.argwhere(~np.isfinite(block))[0])
    value = float(block[image, caption])
    name = "NaN" if np.isnan(value) else ("+infinity" if value > 0 else "-infinity")
    raise NonFiniteScore(image + first_row, caption, name)


class ScoreRows(Protocol):
    """Protocol of score matrices that are read by rows: an array, a memory map, a mean of several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, captions."""
        ...

    def __getitem__(self, rows: slice, /) -> Float[np.ndarray, "img txt"]:
        """Return consecutive rows, all captions."""
        ...


@dataclass(frozen=True)
class Ranks:
    """Ranks of each query's best right answer; queries without a right answer are left out.

    Attributes:
        queries: Row of each query: an image (i2t) or a caption (t2i).
        above: Wrong answers that score higher, which is the 0-based rank when nothing ties.
        tied_wrong: Wrong answers with exactly the best right answer's score.
        tied_right: Right answers with that score, itself included.
    """

    queries: Int64[np.ndarray, " query"]
    above: Int64[np.ndarray, " query"]
    tied_wrong: Int64[np.ndarray, " query"]
    tied_right: Int64[np.ndarray, " query"]

    def rank(self, ties: Ties = "expected") -> Float[np.ndarray, " query"]:
        """Return 0-based ranks: the mean over all orders of equal scores, or the worst of them."""
        if ties == "worst":
            return (self.above + self.tied_wrong).astype(np.float64)
        return self.above + self.tied_wrong / (self.tied_right + 1.0)

    def hit(self, cutoff: int, ties: Ties = "expected") -> Float[np.ndarray, " query"]:
        """Return the probability in 0..1 that a right answer is among the first `cutoff`.

        Of w wrong and r right answers with equal score, all of the first k places go to wrong ones
        with probability prod_{t<k} (w - t) / (w + r - t), where k = cutoff - above places are left.
        """
        left = cutoff - self.above
        if ties == "worst":
            return (self.tied_wrong < left).astype(np.float64)
        miss = np.ones(len(self.above))
        tied = self.tied_wrong + self.tied_right
        for place in range(cutoff):
            wrong = np.maximum(self.tied_wrong - place, 0) / np.maximum(tied - place, 1)
            miss = np.where(place < left, miss * wrong, miss)
        return 1.0 - miss

    @property
    def tied(self) -> Bool[np.ndarray, " query"]:
        """True where the order of equal scores decides the rank."""
        return self.tied_wrong > 0


@dataclass(frozen=True)
class Direction:
    """The figures of one direction over its queries.

    Attributes:
        recall: Share of queries with a right answer among the first K, in percent, by K.
        median_rank: Floor of the median 0-based rank, plus 1.
        mean_rank: Mean 0-based rank, plus 1.
        queries: Number of queries.
        tied: Share of queries whose rank a tie decides, in percent.
    """

    recall: dict[int, float]
    median_rank: float
    mean_rank: float
    queries: int
    tied: float


@dataclass(frozen=True)
class Recalls:
    """Figures of both directions, and rSum, which selects checkpoints.

    Attributes:
        i2t: From an image to its captions.
        t2i: From a caption to its image.
        rsum: The sum of the six recalls, at most 600.
    """

    i2t: Direction
    t2i: Direction
    rsum: float


def recalls(
    scores: ScoreRows,
    caption_image: Int64[np.ndarray, " caption"],
    ties: Ties = "expected",
) -> Recalls:
    """Return R@K, ranks and rSum of a score matrix.

    Args:
        scores: (images, captions), higher is better; read in blocks of rows.
        caption_image: Row of the image that each caption describes.
        ties: How equal scores count.

    Raises:
        InputError: NaN or infinity in the scores, or a map that does not fit them.
    """
    i2t, t2i = ranks(scores, caption_image)
    first, second = summarise(i2t, ties), summarise(t2i, ties)
    return Recalls(
        i2t=first,
        t2i=second,
        rsum=sum(first.recall.values()) + sum(second.recall.values()),
    )


def summarise(found: Ranks, ties: Ties = "expected") -> Direction:
    """Return the figures of one direction's ranks."""
    rank = found.rank(ties)
    return Direction(
        recall={cutoff: percent(found.hit(cutoff, ties)) for cutoff in CUTOFFS},
        median_rank=float(np.floor(np.median(rank)) + 1),
        mean_rank=float(rank.mean() + 1),
        queries=len(rank),
        tied=percent(found.tied),
    )


def ranks(scores: ScoreRows, caption_image: Int64[np.ndarray, " caption"]) -> tuple[Ranks, Ranks]:
    """Rank both directions in two passes over blocks of rows.

    Args:
        scores: (images, captions), higher is better.
        caption_image: Row of the image that each caption describes. An image without captions is no
            query, but stays a wrong answer for every caption.

    Returns:
        i2t (queries are images that have captions) and t2i (queries are all captions).

    Raises:
        InputError: NaN or infinity in the scores, or a map that does not fit them.
    """
    check_map(scores.shape, caption_image)
    images, captions = scores.shape
    right = right_scores(scores, caption_image)
    best = np.full(images, -np.inf, dtype=right.dtype)
    np.maximum.at(best, caption_image, right)
    tied_right = np.bincount(caption_image[right == best[caption_image]], minlength=images)
    above_i2t, equal_i2t = np.zeros(images, np.int64), np.zeros(images, np.int64)
    above_t2i, equal_t2i = np.zeros(captions, np.int64), np.zeros(captions, np.int64)
    for rows, block in blocks(scores):
        above_i2t[rows] = np.count_nonzero(block > best[rows, None], axis=1)
        equal_i2t[rows] = np.count_nonzero(block == best[rows, None], axis=1)
        above_t2i += np.count_nonzero(block > right, axis=0)
        equal_t2i += np.count_nonzero(block == right, axis=0)
    asked = np.flatnonzero(np.bincount(caption_image, minlength=images))
    one = np.ones(captions, np.int64)
    return (
        Ranks(asked, above_i2t[asked], (equal_i2t - tied_right)[asked], tied_right[asked]),
        Ranks(np.arange(captions), above_t2i, equal_t2i - one, one),
    )


def right_scores(scores: ScoreRows, caption_image: Int64[np.ndarray, " caption"]) -> Float[np.ndarray, " caption"]:
    """Return each caption's score with its own image; checks that every score is finite.

    Raises:
        InputError: NaN or infinity in the scores.
    """
    order = np.argsort(caption_image, kind="stable")
    ends = np.searchsorted(caption_image[order], np.arange(scores.shape[0] + 1))
    right: Float[np.ndarray, " caption"] | None = None
    for rows, block in blocks(scores):
        refuse_nonfinite(block, rows.start)
        if right is None:
            right = np.empty(scores.shape[1], dtype=block.dtype)
        mine = order[ends[rows.start] : ends[rows.stop]]
        right[mine] = block[caption_image[mine] - rows.start, mine]
    assert right is not None
    return right


def blocks(scores: ScoreRows) -> Iterator[tuple[slice, Float[np.ndarray, "img txt"]]]:
    """Yield a score matrix by blocks of consecutive rows, a bounded number of scores each."""
    images, captions = scores.shape
    step = max(1, BLOCK_VALUES // max(1, captions))
    for start in range(0, images, step):
        rows = slice(start, min(images, start + step))
        yield rows, scores[rows]


def check_map(shape: tuple[int, ...], caption_image: Int64[np.ndarray, " caption"]) -> None:
    """Check that scores and the caption→image map fit each other.

    Raises:
        InputError: Another shape than (images, captions), no caption at all, or a row out of range.
    """
    if len(shape) != 2:
        raise InputError(f"scores of shape {shape}", "give a matrix of images × captions")
    if len(caption_image) != shape[1]:
        raise InputError(
            f"scores hold {shape[1]:,} captions and the data {len(caption_image):,}",
            "score this split again",
        )
    if len(caption_image) == 0:
        raise InputError("no captions to evaluate", "choose a split with captions")
    if caption_image.min() < 0 or caption_image.max() >= shape[0]:
        raise InputError(
            f"scores hold {shape[0]:,} images and the captions speak of image {int(caption_image.max())}",
            "score this split again",
        )


def percent(share: Float[np.ndarray, " query"] | Bool[np.ndarray, " query"]) -> float:
    """Return the mean of shares in percent, exact where the sum is."""
    return 100.0 * float(share.sum()) / len(share)
