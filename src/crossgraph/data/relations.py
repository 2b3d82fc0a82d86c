"""Read relations between the regions of pictures from `relations.jsonl`, beside the captions: half of a scene graph.

    {"format_version": 1, "predicates": ["on", "holding"]}
    {"image": "1.jpg", "relations": [[0, "holding", 3], [3, "on", 7]]}        subject region, predicate, object region

Regions are counted from 0, in the order of the picture's features; images are called by their ids. A picture that the
file leaves out has no relations. They reach a model as `Regions.extra["relations"]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.json_records import read_records
from crossgraph.data.split import FeatureSource

FILE, EXTRA = "relations.jsonl", "relations"
_REMEDY = 'write {"image": ID, "relations": [[SUBJECT, PREDICATE, OBJECT], ...]}, regions counted from 0'

Relation = tuple[int, int, int]  # subject region, predicate from 1, object region


@dataclass(frozen=True)
class Relations:
    """The content of `relations.jsonl`.

    Attributes:
        path: The file, for messages.
        of_image: Relations by the image's id.
    """

    path: Path
    of_image: Mapping[str, Sequence[Relation]]


def read_relations(path: Path) -> Relations:
    """Read `relations.jsonl`.

    Raises:
        InputError: It is no such file; the line is named.
    """
    relations: dict[str, list[Relation]] = {}

    def add(head: Any, entry: Any) -> None:
        numbers = {str(name): number for number, name in enumerate(head["predicates"], start=1)}
        relations[str(entry["image"])] = [_parse(triple, numbers) for triple in entry["relations"]]

    read_records(path, "relations of a picture", _REMEDY, add)
    return Relations(path, relations)


def _parse(triple: Any, numbers: Mapping[str, int]) -> Relation:
    subject, predicate, target = triple
    if predicate not in numbers:
        raise ValueError(f"predicate '{predicate}' is not among those of line 1")
    if not all(isinstance(r, int) and not isinstance(r, bool) and r >= 0 for r in (subject, target)):
        raise ValueError(f"{triple}: regions are whole numbers from 0")
    return subject, numbers[predicate], target


class WithRelations:
    """Region features with the relations of a file added; a `crossgraph.data.split.FeatureSource`.

    Args:
        features: The features of some pictures.
        ids: The pictures, row by row.
        relations: The file's content.

    Raises:
        InputError: A relation names a region that no picture has; file and picture are named.
    """

    def __init__(self, features: FeatureSource, ids: Sequence[str], relations: Relations) -> None:
        self._features = features
        self._of_row = [list(relations.of_image.get(image, ())) for image in ids]
        regions = features.shape[1]
        self._most = 1  # relations of one subject region
        for image, triples in zip(ids, self._of_row, strict=True):
            last = max((max(subject, target) for subject, _, target in triples), default=0)
            if last >= regions:
                raise InputError(
                    f"{relations.path}: a relation of '{image}' names region {last}, the features have {regions}",
                    "regions are counted from 0, as in the features",
                )
            self._most = max(self._most, *np.bincount([subject for subject, _, _ in triples] or [0]).tolist())

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pictures, most regions of a picture, feature width D."""
        return self._features.shape

    @property
    def encoder(self) -> str:
        """Name of the region encoder."""
        return self._features.encoder

    def read(self, rows: Sequence[int] | Int64[np.ndarray, " row"]) -> Regions:
        """Read pictures by row, `extra["relations"]` (row, region, K, 2): object region and predicate, -1 for none."""
        regions = self._features.read(rows)
        listed = np.full((*regions.features.shape[:2], self._most, 2), -1, dtype=np.int64)
        for i, row in enumerate(np.asarray(rows).tolist()):
            used: dict[int, int] = {}
            for subject, predicate, target in self._of_row[row]:
                listed[i, subject, used.get(subject, 0)] = target, predicate
                used[subject] = used.get(subject, 0) + 1
        extra = {**regions.extra, EXTRA: torch.from_numpy(listed)}
        return Regions(regions.features, regions.mask, regions.boxes, extra)

    def fingerprint(self) -> str:
        """Return a digest of the features' digest and of the relations."""
        return hashlib.sha256(f"{self._features.fingerprint()} {self._of_row}".encode()).hexdigest()
