"""Relations between the regions of pictures, beside the captions in `relations.jsonl`: half of a scene graph.

    {"format_version": 1, "predicates": ["on", "holding"]}
    {"image": "1.jpg", "relations": [[0, "holding", 3], [3, "on", 7]]}        subject region, predicate, object region

Regions are counted from 0, in the order of the picture's features; images are called by their ids. A picture that the
file leaves out has no relations. They reach a model as `Regions.extra["relations"]`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.data.split import FeatureSource
from crossgraph.files import read_text

FILE, EXTRA = "relations.jsonl", "relations"
FORMAT_VERSION = 1
_REMEDY = 'write {"image": ID, "relations": [[SUBJECT, PREDICATE, OBJECT], ...]}, regions counted from 0'

Relation = tuple[int, int, int]  # subject region, predicate from 1, object region


@dataclass(frozen=True)
class Relations:
    """What a file holds.

    Attributes:
        path: The file, for messages.
        predicates: Names, in the order of their numbers.
        of_image: By the image's id.
    """

    path: Path
    predicates: Sequence[str]
    of_image: Mapping[str, Sequence[Relation]]


def read_relations(path: Path) -> Relations:
    """Read a file of relations.

    Raises:
        InputError: It is no such file; the line is named.
    """
    found: dict[str, list[Relation]] = {}
    number = 1
    try:
        lines = read_text(path).split("\n")
        head = json.loads(lines[0])
        if head["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: format version {head['format_version']}, this program reads 1", "make it again")
        names = [str(name) for name in head["predicates"]]
        numbers = {name: place + 1 for place, name in enumerate(names)}
        for line in lines[1:]:
            number += 1
            if line:
                entry = json.loads(line)
                found[str(entry["image"])] = [_relation(one, numbers) for one in entry["relations"]]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}, line {number}: not relations of a picture ({error})", _REMEDY) from error
    return Relations(path, names, found)


def _relation(value: Any, numbers: Mapping[str, int]) -> Relation:
    subject, name, other = value
    if name not in numbers:
        raise ValueError(f"predicate '{name}' is not among those of line 1")
    if not all(isinstance(place, int) and not isinstance(place, bool) and place >= 0 for place in (subject, other)):
        raise ValueError(f"{value}: regions are whole numbers from 0")
    return subject, numbers[name], other


class WithRelations:
    """Features of pictures, and the relations of their regions; a `crossgraph.data.split.FeatureSource`.

    Args:
        features: The pictures'.
        ids: Theirs, row by row.
        relations: What the file holds.

    Raises:
        InputError: A relation names a region that no picture has; file and picture are named.
    """

    def __init__(self, features: FeatureSource, ids: Sequence[str], relations: Relations) -> None:
        self._features, self._regions = features, features.shape[1]
        self._of_row = [list(relations.of_image.get(image, ())) for image in ids]
        for image, own in zip(ids, self._of_row, strict=True):
            if lost := [one for one in own if max(one[0], one[2]) >= self._regions]:
                raise InputError(
                    f"{relations.path}: a relation of '{image}' names region {max(lost[0][0], lost[0][2])}, "
                    f"the features have {self._regions}",
                    "regions are counted from 0, as in the features",
                )
        counts = [np.bincount([one[0] for one in own]).max() if own else 0 for own in self._of_row]
        self._most = max(1, *map(int, counts)) if counts else 1

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
        listed = np.full((len(regions), regions.features.shape[1], self._most, 2), -1, dtype=np.int64)
        for place, row in enumerate(np.asarray(rows).tolist()):
            used: dict[int, int] = {}
            for subject, predicate, other in self._of_row[row]:
                listed[place, subject, used.get(subject, 0)] = other, predicate
                used[subject] = used.get(subject, 0) + 1
        extra = {**regions.extra, EXTRA: torch.from_numpy(listed)}
        return Regions(regions.features, regions.mask, regions.boxes, extra)

    def fingerprint(self) -> str:
        """Return a digest of the features' digest and of the relations."""
        return hashlib.sha256(f"{self._features.fingerprint()} {self._of_row}".encode()).hexdigest()
