"""Open features that name their pictures: shards of `crossgraph extract`, or bottom-up-attention TSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from crossgraph.core.errors import InputError
from crossgraph.data.bottom_up_tsv import BottomUpFeatures, find_tables
from crossgraph.data.dataset import Log
from crossgraph.data.manifest import MANIFEST, read_manifest
from crossgraph.data.shards import ShardFeatures
from crossgraph.data.split import FeatureSource


class FeatureFolder(Protocol):
    """Features by picture name, of which a split chooses some."""

    @property
    def ids(self) -> Sequence[str]:
        """The pictures that have features."""
        ...

    @property
    def broken(self) -> Sequence[str]:
        """The pictures that could not be read when features were made."""
        ...

    def choose(self, rows: Sequence[int]) -> FeatureSource:
        """Return the features of some pictures, in this order; opens no others."""
        ...

    def contents(self, rows: Sequence[int | None]) -> list[str]:
        """Return for every picture a digest that only an equal picture shares; "" where unknown."""
        ...


class ShardFolder:
    """A folder that `crossgraph extract` made."""

    def __init__(self, path: Path) -> None:
        self._path, self._manifest = path, read_manifest(path / MANIFEST)
        self.ids = [picture.id for picture in self._manifest.pictures]
        self.broken = [name for name, _ in self._manifest.broken]
        if not self.ids:
            raise InputError(f"{path}: holds the features of no picture", "extract the pictures again")

    def choose(self, rows: Sequence[int]) -> ShardFeatures:
        """Return the features of some pictures, in this order."""
        return ShardFeatures(self._path, self._manifest, [self.ids[row] for row in rows])

    def contents(self, rows: Sequence[int | None]) -> list[str]:
        """Return the digests of the picture files."""
        return ["" if row is None else self._manifest.pictures[row].sha256 for row in rows]


def open_features(path: Path, log: Log) -> FeatureFolder:
    """Open features of any kind: a folder of shards, a TSV file, or a folder of TSV files.

    Args:
        path: A folder or file of features.
        log: Called with notes.

    Raises:
        InputError: `path` holds no features.
    """
    make = "make them: crossgraph extract PICTURES --out FEATURES"
    if not path.exists():
        raise InputError(f"{path}: no such features", make)
    if (path / MANIFEST).is_file():
        return ShardFolder(path)
    if tables := find_tables(path):
        return BottomUpFeatures(path, tables, log)
    if path.is_dir() and (any(path.glob("shard-*.json")) or any(path.glob("features-*.npy"))):
        raise InputError(
            f"{path}: features without a {MANIFEST}, an extraction that was not finished",
            "run the same crossgraph extract command again, it goes on where it stopped",
        )
    raise InputError(f"{path}: holds no features, neither {MANIFEST} nor a bottom-up-attention .tsv", make)
