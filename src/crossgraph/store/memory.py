"""Store in memory that compares with every vector: exact, for libraries of some ten thousand pictures.

With a folder, one file keeps what was last flushed; what a killed process had not flushed is lost.
"""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crossgraph.core.errors import InputError
from crossgraph.files import atomic_write
from crossgraph.progress import ProgressCallback
from crossgraph.store.base import Neighbour, Point, unit, unit_rows
from crossgraph.store.fields import PayloadValue, Value, comparable, known
from crossgraph.store.filter_tree import Filter, holds
from crossgraph.store.folder import REBUILD, StoreFolder

ENGINE = "memory"
_FILE = "points.npz"


class MemoryStore:
    """A store in this process's memory.

    Args:
        size: Values in an index vector.
        folder: Where it is kept; None keeps nothing.

    Raises:
        InputError: The folder is another process's, another engine's, of another size, or broken.
    """

    def __init__(self, size: int, folder: Path | None = None) -> None:
        self._size = size
        self._guard = threading.RLock()
        self._rows: dict[int, int] = {}
        self._ids = np.empty(0, np.int64)
        self._vectors = np.empty((0, size), np.float32)
        self._payloads: list[Mapping[str, PayloadValue]] = []
        self._values: list[dict[str, Value]] = []
        self._changed = False
        self._folder = None if folder is None else StoreFolder(folder, ENGINE, size)
        if self._folder is not None:
            try:
                self._load(self._folder)
            except BaseException:
                self._folder.close()
                raise

    @property
    def size(self) -> int:
        """The number of values in an index vector."""
        return self._size

    def announce(self, address: str) -> None:
        """Tell whoever else opens this store where its owner answers over HTTP."""
        if self._folder is not None:
            self._folder.announce(address)

    def upsert(self, points: Sequence[Point]) -> None:
        """Add pictures, or replace those with the same id; see `crossgraph.store.base.Store`."""
        vectors = unit_rows(points, self._size)
        with self._guard:
            self._reserve(len(self._rows) + len(points))
            for point, vector in zip(points, vectors, strict=True):
                row = self._rows.setdefault(int(point.id), len(self._rows))
                if row == len(self._payloads):
                    self._payloads.append({})
                    self._values.append({})
                self._ids[row], self._vectors[row] = point.id, vector
                self._payloads[row] = known(point.payload)
                self._values[row] = comparable(point.payload)
            self._changed = True

    def _reserve(self, rows: int) -> None:
        if rows > len(self._ids):
            more = max(rows - len(self._ids), len(self._ids), 64)
            self._ids = np.pad(self._ids, (0, more))
            self._vectors = np.pad(self._vectors, ((0, more), (0, 0)))

    def delete(self, ids: Sequence[int]) -> None:
        """Remove pictures; see `crossgraph.store.base.Store`."""
        with self._guard:
            for id in ids:
                row = self._rows.pop(int(id), None)
                if row is None:
                    continue
                last = len(self._rows)
                payload, values = self._payloads.pop(), self._values.pop()
                if row != last:
                    self._ids[row], self._vectors[row] = self._ids[last], self._vectors[last]
                    self._payloads[row], self._values[row] = payload, values
                    self._rows[int(self._ids[row])] = row
                self._changed = True

    def search(
        self, vector: Float32[np.ndarray, " dim"], limit: int, where: Filter | None = None, exact: bool = False
    ) -> list[Neighbour]:
        """Find the pictures with the largest cosine, always exactly; see `crossgraph.store.base.Store`."""
        query = unit(vector, self._size)
        with self._guard:
            ids, scores = self._ids[: len(self._rows)], self._vectors[: len(self._rows)] @ query
            found: list[Neighbour] = []
            order: list[int] = np.lexsort((ids, -scores)).tolist()
            for row in order:
                if len(found) >= limit:
                    break
                if where is None or holds(where, self._values[row]):
                    found.append(Neighbour(int(ids[row]), float(scores[row])))
            return found

    def count(self, where: Filter | None = None) -> int:
        """Return how many pictures fulfil a filter."""
        with self._guard:
            return len(self._rows) if where is None else sum(holds(where, values) for values in self._values)

    def ids(self) -> Iterator[int]:
        """Go through all ids, smallest first."""
        with self._guard:
            return iter(sorted(self._rows))

    def optimise(self, report: ProgressCallback | None = None) -> None:
        """Do nothing: there is nothing to build."""

    def flush(self) -> None:
        """Write everything to the folder, whole or not at all."""
        with self._guard:
            if self._folder is None or not self._changed:
                return
            rows = len(self._rows)
            payloads = np.frombuffer(json.dumps(self._payloads).encode(), np.uint8)
            with atomic_write(self._folder.path / _FILE) as file:
                np.savez(file, ids=self._ids[:rows], vectors=self._vectors[:rows], payloads=payloads)
            self._folder.point_to(_FILE)
            self._changed = False

    def _load(self, folder: StoreFolder) -> None:
        path = folder.path / (folder.data or _FILE)
        if not folder.data:
            folder.point_to(_FILE)
        if not path.exists():
            return
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as read:
                ids, vectors, payloads = read["ids"], read["vectors"], json.loads(read["payloads"].tobytes())
            self.upsert([Point(int(id), row, given) for id, row, given in zip(ids, vectors, payloads, strict=True)])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: broken ({error})", REBUILD) from error
        self._changed = False

    def close(self) -> None:
        """Flush and release the folder; a second call does nothing."""
        with self._guard:
            if self._folder is not None:
                self.flush()
                self._folder.close()
                self._folder = None
