"""Packs what the page's script draws: each picture and each aligned pair once, a byte for each weight."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.pipeline.alignment import AlignedToken, Alignment, alignment_of
from crossgraph.report.thumbnails import thumbnail
from crossgraph.report.views import View
from crossgraph.runs import Run
from crossgraph.vision.boxes import find_grids


@dataclass(frozen=True)
class Pair:
    """One picture with one sentence, as a view aligns them.

    Attributes:
        number: Of its entry in the page's data.
        tokens: Words of the sentence, specials included, one a row of the weights.
        significance: How much each counted.
        global_significance: How much the whole picture with the whole sentence counted.
    """

    number: int
    tokens: tuple[AlignedToken, ...]
    significance: Float[np.ndarray, " word"]
    global_significance: float


class PageData:
    """The data of the page's script.

    Args:
        split: Pictures and their regions.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._alignments: dict[tuple[Path, int, str], Alignment | None] = {}
        self._packed: dict[tuple[int, int, str], Pair | None] = {}
        self._layouts: dict[str, int] = {}
        self.pictures: dict[int, dict[str, Any]] = {}
        self.pairs: list[dict[str, Any]] = []

    def add_pair(self, view: View, image: int, sentence: str) -> Pair | None:
        """Return an aligned pair; an ensemble's weights are the mean of its runs', as its score is.

        Args:
            view: Whose runs align it.
            image: Row of the picture.
            sentence: Any; where a run knows no word of it there is no pair.
        """
        key = (id(view), image, sentence)
        if key not in self._packed:
            alignments = [self._align(run, image, sentence) for run in view.runs]
            self._packed[key] = self._pack(image, [found for found in alignments if found]) if all(alignments) else None
        return self._packed[key]

    def add_picture(self, image: int) -> dict[str, Any]:
        """Return a picture's entry: data URI, size, id, layout of its regions."""
        if image not in self.pictures:
            paths = self._split.picture_paths
            small = thumbnail(Path(paths[image]) if len(paths) else None)
            self.pictures[image] = {
                "id": str(self._split.image_ids[image]),
                "source": small.source,
                "width": small.width,
                "height": small.height,
                "layout": self._layout(image),
            }
        return self.pictures[image]

    def as_json(self) -> dict[str, Any]:
        """Return plain values for the page's script."""
        return {
            "pictures": {str(row): entry for row, entry in sorted(self.pictures.items())},
            "layouts": [json.loads(layout) for layout in self._layouts],
            "pairs": self.pairs,
        }

    @property
    def layout_kinds(self) -> set[str]:
        """Return how the regions of the pictures lie: "grid", "boxes", "unknown"."""
        return {json.loads(layout)["kind"] for layout in self._layouts}

    def _align(self, run: Run, image: int, sentence: str) -> Alignment | None:
        key = (run.path, image, sentence)
        if key not in self._alignments:
            try:
                self._alignments[key] = alignment_of(run, self._split.features.read([image]), sentence)
            except InputError:
                self._alignments[key] = None
        return self._alignments[key]

    def _pack(self, image: int, alignments: list[Alignment]) -> Pair | None:
        """Add the mean of some alignments; None where their weights differ in shape."""
        if len({alignment.weights.shape for alignment in alignments}) != 1:
            return None
        weights = np.stack([alignment.weights for alignment in alignments]).mean(axis=0, dtype=np.float64)
        significance = np.stack([alignment.significance for alignment in alignments]).mean(axis=0, dtype=np.float64)
        overall = float(np.mean([alignment.global_significance for alignment in alignments]))
        peaks = weights.max(axis=1)
        levels = np.rint(255 * np.clip(weights / np.maximum(peaks, 1e-12)[:, None], 0, 1)).astype(np.uint8)
        self.add_picture(image)
        self.pairs.append(
            {
                "picture": image,
                "weights": base64.b64encode(levels.tobytes()).decode("ascii"),
                "peaks": [round(float(peak), 4) for peak in peaks],
                "significance": [round(float(share), 4) for share in significance],
            }
        )
        return Pair(len(self.pairs) - 1, alignments[0].tokens, significance, overall)

    def _layout(self, image: int) -> int:
        """Return the number of the layout of a picture's regions: their grids, their boxes, or their count alone."""
        regions = self._split.features.read([image])
        real = regions.mask[0]
        layout: dict[str, Any] = {"kind": "unknown", "count": int(real.sum())}
        if regions.boxes is not None and layout["count"]:
            boxes = regions.boxes[0][real].numpy()
            if grids := find_grids(boxes):
                layout |= {"kind": "grid", "grids": [[grid.start, grid.rows, grid.columns] for grid in grids]}
            elif bool((boxes[:, 2:] > boxes[:, :2]).any()):
                layout |= {"kind": "boxes", "boxes": np.rint(1000 * boxes).astype(int).tolist()}
        return self._layouts.setdefault(json.dumps(layout, sort_keys=True), len(self._layouts))
