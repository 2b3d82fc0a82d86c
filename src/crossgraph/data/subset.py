"""Subsets of a split: its first pictures, as published loaders cut their dev sets, or any pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.split import CocoIds, FeatureSource, Split


class FeatureSubset:
    """Features of a subset of the pictures of a feature source.

    Args:
        features: Of all pictures.
        rows: Rows of the subset, in its order.
    """

    def __init__(self, features: FeatureSource, rows: Int64[np.ndarray, " row"]) -> None:
        self._features, self._rows = features, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, most regions of a picture, feature width D."""
        return len(self._rows), *self._features.shape[1:]

    def read(self, rows: Sequence[int] | Int64[np.ndarray, " row"]) -> Regions:
        """Read pictures by row, in the given order."""
        return self._features.read(self._rows[np.asarray(rows, dtype=np.int64)])

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
        split: All pairs.
        images: How many pictures, at least 1.

    Raises:
        InputError: `images` is below 1.
    """
    if images < 1:
        raise InputError(f"a limit of {images} images leaves nothing", "give at least 1")
    if images >= len(split.image_ids):
        return split
    return select_pairs(split, np.arange(images), np.flatnonzero(split.caption_image < images))


def select_pairs(split: Split, images: Int64[np.ndarray, " img"], captions: Int64[np.ndarray, " caption"]) -> Split:
    """Return a split of chosen pictures and captions.

    Args:
        split: All pairs.
        images: Rows of pictures, each once.
        captions: Rows of captions; their pictures are among `images`.
    """
    position = np.full(len(split.image_ids), -1)
    position[images] = np.arange(len(images))
    rows, columns = images.tolist(), captions.tolist()
    return dataclasses.replace(
        split,
        image_ids=[split.image_ids[row] for row in rows],
        captions=[split.captions[column] for column in columns],
        caption_image=position[split.caption_image[captions]],
        features=FeatureSubset(split.features, images),
        picture_paths=[split.picture_paths[row] for row in rows] if split.picture_paths else (),
        edges=None if split.edges is None else [split.edges[column] for column in columns],
        coco=None if split.coco is None else CocoIds(split.coco.images[images], split.coco.captions[captions]),
    )
