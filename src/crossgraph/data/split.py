"""Split: pictures, captions and features of one split, in the form that every layout is read into.

The number of captions per image is never assumed: `caption_image` is the truth everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from crossgraph.core.types import Regions


@runtime_checkable
class FeatureSource(Protocol):
    """Region features of the pictures of one split, read by row, never whole.

    Implementations hold paths, open their memory map at the first read in each process, and pickle
    without the open map, so that every loader worker opens its own.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, most regions of a picture, feature width D."""
        ...

    def read(self, rows: Sequence[int] | Int64[np.ndarray, " row"]) -> Regions:
        """Read pictures by row as float32, in the given order.

        Raises:
            InputError: A value is NaN or infinite; the picture is named.
        """
        ...

    def fingerprint(self) -> str:
        """Return a hexadecimal digest that changes when the features do (cheap: sizes, ends, samples)."""
        ...

    @property
    def encoder(self) -> str:
        """Name of the region encoder that made them, or "published" where the file does not say."""
        ...


@dataclass(frozen=True)
class CocoIds:
    """COCO's ids of the pictures and captions of a split.

    Attributes:
        images: COCO's id of each picture; -1 where unknown.
        captions: COCO's id of each caption.
    """

    images: Int64[np.ndarray, " img"]
    captions: Int64[np.ndarray, " caption"]


@dataclass(frozen=True)
class Split:
    """One split of a data set.

    Attributes:
        name: "train", "dev", "test", ...
        image_ids: One per picture, unique.
        captions: The sentences, as written.
        caption_image: Row in `image_ids` of the picture that each caption describes.
        features: Region features; row i belongs to `image_ids[i]`.
        picture_paths: Where the pictures lie, row by row; empty where only features are known.
        edges: Dependency edges per caption as (head, dependent) token positions; None where unknown.
        edges_by: What made them: "published" where they came with the features, or a parser; "" without edges.
        source: What was read, for messages and cards.
        coco: COCO's ids, where the captions file tells them.
    """

    name: str
    image_ids: Sequence[str]
    captions: Sequence[str]
    caption_image: Int64[np.ndarray, " caption"]
    features: FeatureSource
    picture_paths: Sequence[Path] = ()
    edges: Sequence[Sequence[tuple[int, int]]] | None = None
    edges_by: str = ""
    source: str = ""
    coco: CocoIds | None = None

    def fingerprint(self) -> str:
        """Return a digest of ids, captions, map and features, which cards and runs record as their data."""
        import hashlib

        digest = hashlib.sha256()
        for part in (self.image_ids, self.captions):
            digest.update("\0".join(part).encode("utf-8") + b"\1")
        digest.update(np.ascontiguousarray(self.caption_image, dtype=np.int64).tobytes())
        digest.update(self.features.fingerprint().encode("ascii"))
        return digest.hexdigest()
