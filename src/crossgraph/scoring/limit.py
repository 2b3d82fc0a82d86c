"""The first pictures of a split, as published loaders cut their dev sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.split import CocoIds, FeatureSource, Split


class FirstRows:
    """The first rows of a feature source.

    Args:
        features: The whole.
        rows: How many of it.
    """

    def __init__(self, features: FeatureSource, rows: int) -> None:
        self._features, self._rows = features, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, most regions of a picture, feature width D."""
        return self._rows, *self._features.shape[1:]

    def read(self, rows: Sequence[int] | Int64[np.ndarray, " row"]) -> Regions:
        """Read pictures by row, in the given order."""
        return self._features.read(rows)

    def fingerprint(self) -> str:
        """Return the whole source's digest: the file is the same, the split's ids say what was taken."""
        return self._features.fingerprint()

    @property
    def encoder(self) -> str:
        """Name of the region encoder that made them."""
        return self._features.encoder


def first_images(split: Split, images: int) -> Split:
    """Return a split's first pictures with all their captions; all of it where it has no more.

    Args:
        split: The whole.
        images: How many pictures, at least 1.

    Raises:
        InputError: `images` is below 1.
    """
    if images < 1:
        raise InputError(f"a limit of {images} images leaves nothing", "give at least 1")
    if images >= len(split.image_ids):
        return split
    kept: list[int] = np.flatnonzero(split.caption_image < images).tolist()
    return dataclasses.replace(
        split,
        image_ids=split.image_ids[:images],
        captions=[split.captions[row] for row in kept],
        caption_image=split.caption_image[kept],
        features=FirstRows(split.features, images),
        picture_paths=split.picture_paths[:images],
        edges=None if split.edges is None else [split.edges[row] for row in kept],
        coco=None if split.coco is None else CocoIds(split.coco.images[:images], split.coco.captions[kept]),
    )
