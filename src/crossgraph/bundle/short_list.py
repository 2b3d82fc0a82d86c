"""Choose short-list lengths that contain the re-ranker's best pictures at a given recall.

The answer comes from a dev gallery: where does the picture that the re-ranker likes best among *all* stand in
the retriever's order? The share of the gallery is what carries over to a library of another size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

RECALLS = (0.9, 0.95, 0.98, 0.99, 0.995)
DEFAULT_RECALL = 0.99
LEAST = 20
MOST = 1000
"""However large the library, no more pictures are re-ranked; what a query takes stays bounded."""


@dataclass(frozen=True)
class ShortList:
    """Short-list lengths by recall target.

    Attributes:
        gallery: Pictures of the dev gallery.
        queries: Captions asked.
        sizes: By recall target: how many nearest neighbours hold the re-ranker's best picture for at least
            that share of the captions.
        match_sizes: The same for the picture that the caption was written for.
    """

    gallery: int
    queries: int
    sizes: Mapping[float, int]
    match_sizes: Mapping[float, int]

    def size(self, pictures: int, recall: float | None = None) -> int:
        """Return how many pictures to re-rank.

        Args:
            pictures: In the library.
            recall: Target; the nearest one measured at or above it is taken, 0.99 without.

        Returns:
            The measured share of the gallery, carried over to this library; at least `LEAST`, at most
            `MOST` and the library.
        """
        return max(0, min(pictures, MOST, self.wanted(pictures, recall)))

    def wanted(self, pictures: int, recall: float | None = None) -> int:
        """Return the length that the target needs without the upper limit; see `size`."""
        wanted = DEFAULT_RECALL if recall is None else recall
        known = sorted(self.sizes)
        target = next((value for value in known if value >= wanted - 1e-9), known[-1])
        return min(pictures, max(LEAST, math.ceil(self.sizes[target] * pictures / max(1, self.gallery))))

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        sizes = {f"{recall:g}": size for recall, size in self.sizes.items()}
        matches = {f"{recall:g}": size for recall, size in self.match_sizes.items()}
        return {"gallery": self.gallery, "queries": self.queries, "sizes": sizes, "match_sizes": matches}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ShortList:
        """Return the object that `as_json` described."""
        sizes = {float(recall): int(size) for recall, size in values["sizes"].items()}
        matches = {float(recall): int(size) for recall, size in values["match_sizes"].items()}
        return cls(int(values["gallery"]), int(values["queries"]), sizes, matches)


def choose(
    coarse_scores: Float[np.ndarray, "img txt"],
    scores: Float[np.ndarray, "img txt"],
    caption_image: Int64[np.ndarray, " txt"],
) -> ShortList:
    """Measure the lengths on a gallery.

    Args:
        coarse_scores: The retriever's scores.
        scores: The re-ranker's.
        caption_image: Row of the picture each caption was written for.
    """
    captions = np.arange(scores.shape[1])
    best = places(coarse_scores, scores.argmax(axis=0), captions)
    own = places(coarse_scores, caption_image, captions)
    return ShortList(
        gallery=len(scores),
        queries=scores.shape[1],
        sizes={recall: at_recall(best, recall) for recall in RECALLS},
        match_sizes={recall: at_recall(own, recall) for recall in RECALLS},
    )


def places(
    coarse_scores: Float[np.ndarray, "img txt"], rows: Int64[np.ndarray, " txt"], columns: Int64[np.ndarray, " txt"]
) -> Int64[np.ndarray, " txt"]:
    """Return the rank by `coarse` of each caption's wanted picture; ties count as ranked before it."""
    wanted = coarse_scores[rows, columns]
    return (coarse_scores >= wanted[None, :]).sum(axis=0).astype(np.int64)


def at_recall(found: Int64[np.ndarray, " query"], recall: float) -> int:
    """Return the smallest length that contains the wanted picture for at least that share of queries."""
    ordered = np.sort(found)
    return int(ordered[max(0, math.ceil(recall * len(ordered) - 1e-9) - 1)])
