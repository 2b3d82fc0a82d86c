"""The base class of data sets of any layout: named splits, each opened on its own, announced in one line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.data.edges import FILE as DEPENDENCIES
from crossgraph.data.edges import Dependencies, read_dependencies
from crossgraph.data.relations import FILE as RELATIONS
from crossgraph.data.relations import Relations, WithRelations, read_relations
from crossgraph.data.split import Split

Log = Callable[[str], object]
_ORDER = ("train", "dev", "test", "testall")
_ALIASES = {"val": "dev", "valid": "dev", "validation": "dev", "restval": "train", "training": "train"}


class DataSet(ABC):
    """A data set found on disk. Opening a split reads no other split's features or captions files.

    Args:
        layout: Its layout: "precomp", "karpathy", "coco", "folder".
        path: The data set's folder.
        log: Called with the one-line announcement of each split, and with notes.

    Attributes:
        layout: As given.
        path: As given.
    """

    def __init__(self, layout: str, path: Path, log: Log) -> None:
        self.layout = layout
        self.path = path
        self._log = log
        self._opened: dict[str, Split] = {}
        self._dependencies: Dependencies | None = None
        self._relations: Relations | None = None

    @property
    @abstractmethod
    def splits(self) -> list[str]:
        """The splits there are: train, dev, test first."""

    def split(self, name: str) -> Split:
        """Return a split, opened at the first call and announced in one line.

        Raises:
            InputError: There is no such split, or its files do not fit each other.
        """
        if name not in self._opened:
            if name not in self.splits:
                raise InputError(f"{self.path}: has no split '{name}'", did_you_mean(name, self.splits))
            split = self._with_relations(self._with_edges(self._open(name)))
            self._opened[name] = split
            self._log(f"{_describe_counts(self.layout, [split])} ({name})")
        return self._opened[name]

    def describe(self) -> str:
        """Return in one line what has been opened, or which splits there are; opens nothing."""
        if self._opened:
            return f"{_describe_counts(self.layout, self._opened.values())} ({', '.join(self._opened)})"
        return f"{self.layout}: splits {', '.join(self.splits)}"

    def _with_edges(self, split: Split) -> Split:
        """Add the dependency edges that `crossgraph parse` wrote, where the split has none of its own."""
        path = self.path / DEPENDENCIES
        if split.edges is not None or not path.is_file():
            return split
        if self._dependencies is None:
            self._dependencies = read_dependencies(path)
        edges = self._dependencies.of(split.captions)
        if edges is None:
            self._log(f"note: {path}: lacks captions of '{split.name}' and is left out; crossgraph parse {self.path}")
            return split
        return replace(split, edges=edges, edges_by=self._dependencies.parser)

    def _with_relations(self, split: Split) -> Split:
        """Add the relations of the pictures' regions, where a file of them lies beside the captions."""
        path = self.path / RELATIONS
        if not path.is_file():
            return split
        if self._relations is None:
            self._relations = read_relations(path)
        return replace(split, features=WithRelations(split.features, split.image_ids, self._relations))

    @abstractmethod
    def _open(self, name: str) -> Split:
        """Read a split that exists."""


def split_name(written: str) -> str:
    """Return this program's name of a split that a file calls "val", "restval", "Train" ..."""
    name = written.strip().lower()
    return _ALIASES.get(name, name)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort split names: train, dev, test, testall, then the others by alphabet."""
    return sorted(set(names), key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def _describe_counts(layout: str, splits: Iterable[Split]) -> str:
    splits = list(splits)
    images = sum(len(split.image_ids) for split in splits)
    captions = sum(len(split.captions) for split in splits)
    _, regions, width = splits[0].features.shape
    size = f"{images:,} image{'s' * (images != 1)} × {regions} × {width}"
    return f"{layout}: {size}, {captions:,} caption{'s' * (captions != 1)}"
