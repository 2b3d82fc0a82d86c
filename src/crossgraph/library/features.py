"""Region features kept beside the codes by choice, so that a new model encodes without reading pictures again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from crossgraph.core.types import Regions
from crossgraph.library.library import Library
from crossgraph.library.manifest import Place
from crossgraph.library.records import Shards


@dataclass(frozen=True)
class FeatureLayout:
    """What a record of features holds: regions, feature width, and whether there are boxes."""

    regions: int
    width: int
    boxes: int

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The record as a structured type."""
        fields: list[tuple[str, str, tuple[int, ...]]] = [
            ("features", "<f2", (self.regions, self.width)),
            ("mask", "?", (self.regions,)),
        ]
        return np.dtype(fields + ([("boxes", "<f4", (self.regions, 4))] if self.boxes else []))


class FeatureFiles:
    """The features of a library.

    Args:
        library: Any.
    """

    def __init__(self, library: Library) -> None:
        self._library = library

    def append(self, batches: Sequence[Regions]) -> list[tuple[int, int]]:
        """Write the features of some pictures; return shard and row of each."""
        manifest = self._library.manifest
        first = batches[0]
        _, count, width = first.features.shape
        layout = FeatureLayout(count, width, int(first.boxes is not None))
        manifest.remember({"features": f"{layout.regions} {layout.width} {layout.boxes}"})
        records = np.concatenate([_pack(layout, regions) for regions in batches])
        query = "SELECT feature_shard, max(feature_row) FROM pictures WHERE feature_shard IS NOT NULL "
        last = manifest.connection.execute(
            query + "GROUP BY feature_shard ORDER BY feature_shard DESC LIMIT 1"
        ).fetchone()
        after = Place(0, last[0], last[1] + 1) if last else Place(0, 0, 0)
        shards = Shards(self._library.folder / "features", layout.dtype)
        return [(place.shard, place.row) for place in shards.append(records, after)]

    def read(self, ids: Sequence[int]) -> dict[int, Regions]:
        """Return the kept features of some pictures, each as regions of one picture; others are left out."""
        remembered = self._library.manifest.meta("features")
        if not remembered:
            return {}
        layout = FeatureLayout(*(int(number) for number in remembered.split()))
        shards = Shards(self._library.folder / "features", layout.dtype)
        found: dict[int, Regions] = {}
        query = "SELECT feature_shard, feature_row FROM pictures WHERE id = ? AND feature_shard IS NOT NULL"
        for number in ids:
            row = self._library.manifest.connection.execute(query, (number,)).fetchone()
            if row is not None:
                found[number] = _unpack(layout, shards.read([Place(0, row[0], row[1])]))
        return found


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
