"""Score matrices computed on reading: the mean of several, and parts of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.scoring.recall import ScoreRows


class Mean:
    """The mean of several score matrices (an ensemble), in float64, computed by blocks of rows.

    Args:
        members: At least one, of one shape.
    """

    def __init__(self, members: Sequence[ScoreRows]) -> None:
        self.members = members

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, captions."""
        return self.members[0].shape

    def __getitem__(self, rows: slice, /) -> Float[np.ndarray, "img txt"]:
        """Return the mean of consecutive rows."""
        total = self.members[0][rows].astype(np.float64)
        for member in self.members[1:]:
            total += member[rows]
        return total / len(self.members)


class Part:
    """Consecutive images of a score matrix with some of its captions.

    Args:
        whole: The matrix.
        images: Consecutive rows.
        captions: Columns, in the order wanted.
    """

    def __init__(self, whole: ScoreRows, images: slice, captions: Int64[np.ndarray, " caption"]) -> None:
        self._whole, self._first, self._captions = whole, images.start, captions
        self.shape: tuple[int, ...] = (images.stop - images.start, len(captions))
        consecutive = len(captions) > 0 and bool((np.diff(captions) == 1).all())
        self._columns = slice(int(captions[0]), int(captions[-1]) + 1) if consecutive else captions

    def __getitem__(self, rows: slice, /) -> Float[np.ndarray, "img txt"]:
        """Return consecutive rows of the part."""
        return self._whole[slice(rows.start + self._first, rows.stop + self._first)][:, self._columns]


def select_pairs(
    scores: ScoreRows, caption_image: Int64[np.ndarray, " caption"], images: slice
) -> tuple[ScoreRows, Int64[np.ndarray, " caption"]]:
    """Cut a gallery out of a score matrix: consecutive images with all their captions, and nothing else.

    Args:
        scores: The whole matrix; parts of a mean are means of parts.
        caption_image: The whole map.
        images: Consecutive rows.

    Returns:
        The part, and its own caption→image map.
    """
    captions = np.flatnonzero((caption_image >= images.start) & (caption_image < images.stop))
    own = caption_image[captions] - images.start
    if isinstance(scores, Mean):
        return Mean([Part(member, images, captions) for member in scores.members]), own
    return Part(scores, images, captions), own
