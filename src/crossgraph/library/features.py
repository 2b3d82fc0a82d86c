"""Stores region features, where the user asks for it, so that a new model encodes without reading pictures again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crossgraph.core.types import Regions
from crossgraph.library.library import Library
from crossgraph.library.manifest import RecordPosition
from crossgraph.library.records import Shards, are_whole, checksums

KEY = "features"
"""Key of the layout in the manifest."""


@dataclass(frozen=True)
class FeatureLayout:
    """The sizes of a record of features, whether it has boxes, and which generation of files counts."""

    regions: int
    width: int
    boxes: int
    generation: int = 0

    def to_text(self) -> str:
        """Return the layout as the manifest keeps it."""
        return f"{self.regions} {self.width} {self.boxes} {self.generation}"

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Return the record as a structured type."""
        fields: list[tuple[str, str, tuple[int, ...]]] = [
            ("features", "<f2", (self.regions, self.width)),
            ("mask", "?", (self.regions,)),
            ("boxes", "<f4", (self.regions, 4)),
            ("checksum", "<u4", ()),
        ]
        return np.dtype([field for field in fields if field[0] != "boxes" or self.boxes])


class FeatureFiles:
    """The files of region features of a library."""

    def __init__(self, library: Library) -> None:
        self._library = library

    @property
    def layout(self) -> FeatureLayout | None:
        """Return the layout of the stored features; None where none are stored."""
        text = self._library.manifest.meta(KEY)
        return FeatureLayout(*map(int, text.split())) if text else None

    def shards(self, layout: FeatureLayout) -> Shards:
        """Return the files of a layout."""
        return Shards(self._library.folder / "features", layout.dtype)

    def append(self, batches: Sequence[Regions]) -> list[RecordPosition]:
        """Append the features of some pictures behind those that the manifest knows; return their positions."""
        manifest, before = self._library.manifest, self.layout
        layout = layout_of(batches[0], before.generation if before else 0)
        if before is None:
            manifest.remember({KEY: layout.to_text()})
        query = (
            "SELECT feature_shard, max(feature_row) FROM pictures WHERE feature_shard IS NOT NULL "
            "GROUP BY feature_shard ORDER BY feature_shard DESC LIMIT 1"
        )
        last = manifest.connection.execute(query).fetchone()
        start = RecordPosition(layout.generation, *last).following if last else RecordPosition(layout.generation)
        return self.shards(layout).append(pack_features(layout, batches), start)

    def positions(self, ids: Sequence[int]) -> dict[int, RecordPosition]:
        """Return the positions of some pictures' features; pictures without features are left out."""
        layout = self.layout
        if layout is None:
            return {}
        query = "SELECT feature_shard, feature_row FROM pictures WHERE id = ? AND feature_shard IS NOT NULL"
        rows = {number: self._library.manifest.connection.execute(query, (number,)).fetchone() for number in ids}
        return {number: RecordPosition(layout.generation, row[0], row[1]) for number, row in rows.items() if row}

    def read(self, ids: Sequence[int]) -> dict[int, Regions]:
        """Return the features of some pictures, each as regions of one picture; those without are left out."""
        layout, positions = self.layout, self.positions(ids)
        if layout is None or not positions:
            return {}
        records = self.shards(layout).read(list(positions.values()))
        whole = are_whole(records)
        return {number: _unpack(layout, records[row : row + 1]) for row, number in enumerate(positions) if whole[row]}


def layout_of(regions: Regions, generation: int) -> FeatureLayout:
    """Return the layout that fits some features."""
    _, count, width = regions.features.shape
    return FeatureLayout(count, width, int(regions.boxes is not None), generation)


def pack_features(layout: FeatureLayout, batches: Sequence[Regions]) -> np.ndarray:
    """Return features as records."""
    records = np.concatenate([_pack(layout, regions) for regions in batches])
    records["checksum"] = checksums(records)
    return records


def _pack(layout: FeatureLayout, regions: Regions) -> np.ndarray:
    records = np.zeros(len(regions), dtype=layout.dtype)
    records["features"], records["mask"] = regions.features.numpy(), regions.mask.numpy()
    if layout.boxes and regions.boxes is not None:
        records["boxes"] = regions.boxes.numpy()
    return records


def _unpack(layout: FeatureLayout, records: np.ndarray) -> Regions:
    boxes = torch.from_numpy(records["boxes"].copy()) if layout.boxes else None
    features = torch.from_numpy(records["features"].astype(np.float32))
    return Regions(features, torch.from_numpy(records["mask"].copy()), boxes)
