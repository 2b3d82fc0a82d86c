"""Features that name their pictures, whatever file holds them: our own shards, or the bottom-up-attention TSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from crossgraph.core.errors import InputError
from crossgraph.data.manifest import MANIFEST, read_manifest
from crossgraph.data.shards import ShardFeatures
from crossgraph.data.split import FeatureSource


class FeatureFolder(Protocol):
    """Features by picture name."""

    @property
    def ids(self) -> Sequence[str]:
        """The pictures that have features."""
        ...

    def source(self, ids: Sequence[str]) -> FeatureSource:
        """Return the features of these pictures, in this order."""
        ...


class ShardFolder:
    """A folder that `crossgraph extract` made."""

    def __init__(self, path: Path) -> None:
        self._path, self._manifest = path, read_manifest(path / MANIFEST)
        self.ids = [place.picture.id for place in self._manifest.places]

    def source(self, ids: Sequence[str]) -> FeatureSource:
        """Return the features of these pictures, in this order."""
        return ShardFeatures(self._path, self._manifest, ids)


def open_features(path: Path) -> FeatureFolder:
    """Open features by what lies at `path`: a folder of ours, or a TSV file (or a folder that holds one).

    Raises:
        InputError: Nothing that holds features is there.
    """
    if (path / MANIFEST).is_file():
        return ShardFolder(path)
    tables = [path] if path.suffix == ".tsv" and path.is_file() else sorted(path.glob("*.tsv")) if path.is_dir() else []
    if tables:
        from crossgraph.data.bua import BottomUpFeatures

        return BottomUpFeatures(tables)
    if not path.exists():
        raise InputError(f"{path}: no such folder", "make it: crossgraph extract PICTURES --out FEATURES")
    if path.is_dir() and any(path.glob("*.npy")):
        raise InputError(
            f"{path}: features without a {MANIFEST}, an extraction that was not finished",
            "run the same crossgraph extract command again, it goes on where it stopped",
        )
    raise InputError(f"{path}: holds no features", "make them: crossgraph extract PICTURES --out FEATURES")
