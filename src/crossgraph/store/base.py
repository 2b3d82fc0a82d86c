"""The protocol of a store of index vectors, which every engine implements.

A store holds one index vector a picture, with the fields that searches filter by. It is a copy: a library's
manifest is the truth, and a store can be dropped and filled again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32

from crossgraph.progress import ProgressCallback
from crossgraph.store.fields import PayloadValue
from crossgraph.store.filter_tree import Filter


@dataclass(frozen=True)
class Point:
    """A picture in a store.

    Attributes:
        id: Its number in the library, 0 or more.
        vector: Its index vector; scaled to length 1 where it is not.
        payload: The fields it can be filtered by, see `crossgraph.store.fields`; others are not kept.
    """

    id: int
    vector: Float32[np.ndarray, " dim"]
    payload: Mapping[str, PayloadValue]


@dataclass(frozen=True)
class Neighbour:
    """A picture that was found.

    Attributes:
        id: Its number in the library.
        score: The cosine of its index vector and the query's.
    """

    id: int
    score: float


class Store(Protocol):
    """An engine for nearest neighbours. Methods may be called from several threads.

    All raise `InputError` where the store is down, in another process's hands, or broken.
    """

    @property
    def size(self) -> int:
        """The number of values in an index vector."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Add pictures, or replace those with the same id; of two with one id, the later counts.

        Raises:
            ValueError: An id is negative, or a vector has another size or values that are not finite.
        """
        ...

    def delete(self, ids: Sequence[int]) -> None:
        """Remove pictures; ids that are not there are passed over."""
        ...

    def search(
        self, vector: Float32[np.ndarray, " dim"], limit: int, where: Filter | None = None, exact: bool = False
    ) -> list[Neighbour]:
        """Find the pictures with the largest cosine.

        Args:
            vector: The query's index vector; its length does not matter.
            limit: How many to find at most.
            where: What they must fulfil.
            exact: Compare with every picture, so that none is missed.

        Returns:
            Best first; equal scores by id. Which of several with the last score are in is the engine's choice.
        """
        ...

    def count(self, where: Filter | None = None) -> int:
        """Return how many pictures fulfil a filter."""
        ...

    def ids(self) -> Iterator[int]:
        """Go through all ids, smallest first."""
        ...

    def flush(self) -> None:
        """Bring everything to disk, so that a power cut loses nothing."""
        ...

    def optimise(self, report: ProgressCallback | None = None) -> None:
        """Build what makes searches fast, where enough has changed. Searches go on meanwhile."""
        ...

    def close(self) -> None:
        """Flush and release the store; a second call does nothing."""
        ...


def unit_rows(points: Sequence[Point], size: int) -> Float32[np.ndarray, "points dim"]:
    """Return the points' vectors, scaled to length 1; a vector of zeros stays.

    Raises:
        ValueError: An id is negative, or a vector has another size or values that are not finite.
    """
    for point in points:
        if point.id < 0:
            raise ValueError(f"id {point.id} is negative")
        if point.vector.shape != (size,):
            raise ValueError(f"the vector of {point.id} has shape {point.vector.shape}, the store holds ({size},)")
    rows = np.array([point.vector for point in points], np.float32).reshape(len(points), size)
    return _unit(rows)


def unit(vector: Float32[np.ndarray, " dim"], size: int) -> Float32[np.ndarray, " dim"]:
    """Return a query scaled to length 1; see `unit_rows` for what is raised."""
    if vector.shape != (size,):
        raise ValueError(f"the query has shape {vector.shape}, the store holds ({size},)")
    return _unit(np.asarray(vector, np.float32)[None])[0]


def _unit(rows: Float32[np.ndarray, "points dim"]) -> Float32[np.ndarray, "points dim"]:
    if not np.isfinite(rows).all():
        raise ValueError("an index vector has values that are not finite")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1).astype(np.float32)
