"""Store by Qdrant Edge, embedded: an approximate index on disk, for a million pictures.

The shard lives in a process of its own, because Edge stops all Python threads through every call. Its graphs are
built in a copy by a third process at low priority, while searches and changes go on; then the copy takes the
shard's place in one step. See docs/store.md.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float32

from crossgraph.core.errors import InputError
from crossgraph.files import unwritable
from crossgraph.progress import ProgressCallback, ignore_progress
from crossgraph.store.base import Neighbour, Point, unit, unit_rows
from crossgraph.store.conditions import INDICES, LINKED, Condition, native, stored
from crossgraph.store.edge_process import EdgeEndedError, EdgeProcess
from crossgraph.store.filter_tree import Filter
from crossgraph.store.folder import REBUILD, StoreFolder

ENGINE = "edge"
_BATCH = 256  # points a request: a search waits for one request at most
_SHARD = "shard-"
_LEAST_FREE = 1 << 20  # bytes; with less a disk counts as full


@dataclass(frozen=True)
class EdgeSettings:
    """How the graph is built and searched.

    Attributes:
        m: Edges of a node.
        ef_construct: Candidates kept while building.
        ef: Candidates kept while searching, at least; twice the number asked for where that is more, and four times
            as many where there is a filter.
        full_scan: Up to so many kilobytes of vectors that fulfil a filter, all are compared.
        plain_kilobytes: Up to so many kilobytes of vectors no graph is built.
        segment_kilobytes: The largest part of a shard.
        segments: How many parts are aimed at.
    """

    m: int = 16
    ef_construct: int = 128
    ef: int = 256
    full_scan: int = 100_000
    plain_kilobytes: int = 100_000
    segment_kilobytes: int = 100_000_000
    segments: int = 1


class EdgeStore:
    """A store in a folder, by Qdrant Edge. The folder has one owner, which holds it until `close`.

    What `upsert` and `delete` have done is in a log on disk when they return, which a killed process leaves
    behind; `flush` makes it safe from a power cut too.

    Args:
        folder: Where it is; made when missing.
        size: Values in an index vector.
        settings: How the graph is built and searched.

    Raises:
        InputError: The folder is another process's, another engine's, of another size, or broken; or Edge is
            not installed.
    """

    def __init__(self, folder: Path, size: int, settings: EdgeSettings | None = None) -> None:
        self._size = size
        self._settings = {"size": size, **asdict(settings or EdgeSettings())}
        self._writing = threading.RLock()
        self._building = threading.Lock()
        self._journal: list[tuple[str, tuple[object, ...]]] | None = None
        self._builder: EdgeProcess | None = None
        self._closed = False
        self._folder = StoreFolder(folder, ENGINE, size)
        try:
            if not self._folder.data:
                self._drop_all_but("")
                self._process = self._start(folder / f"{_SHARD}1")
                self._folder.point_to(f"{_SHARD}1")
            elif not (folder / self._folder.data).is_dir():
                raise InputError(f"{folder / self._folder.data}: no such folder", REBUILD)
            else:
                self._process = self._start(folder / self._folder.data)
            self._drop_all_but(self._folder.data)
        except BaseException:
            self._folder.close()
            raise

    @property
    def size(self) -> int:
        """The number of values in an index vector."""
        return self._size

    @property
    def folder(self) -> Path:
        """Where the store is."""
        return self._folder.path

    @property
    def pid(self) -> int:
        """The process that holds the shard now; building an index changes it."""
        return self._process.pid

    def announce(self, address: str) -> None:
        """Tell whoever else opens this store where its owner answers over HTTP."""
        self._folder.announce(address)

    def upsert(self, points: Sequence[Point]) -> None:
        """Add pictures, or replace those with the same id; see `crossgraph.store.base.Store`."""
        vectors = unit_rows(points, self._size)
        for start in range(0, len(points), _BATCH):
            some = points[start : start + _BATCH]
            rows = vectors[start : start + _BATCH].tobytes()
            self._write("upsert", [int(point.id) for point in some], rows, [stored(point.payload) for point in some])

    def delete(self, ids: Sequence[int]) -> None:
        """Remove pictures; see `crossgraph.store.base.Store`."""
        for start in range(0, len(ids), _BATCH):
            self._write("delete", [int(id) for id in ids[start : start + _BATCH]])

    def search(
        self, vector: Float32[np.ndarray, " dim"], limit: int, where: Filter | None = None, exact: bool = False
    ) -> list[Neighbour]:
        """Find the pictures with the largest cosine; see `crossgraph.store.base.Store`."""
        if limit < 1:
            return []
        answer = self._ask("search", unit(vector, self._size).tobytes(), limit, _condition(where), exact)
        ids, scores = cast(tuple[list[int], list[float]], answer)
        return sorted(map(Neighbour, ids, scores), key=lambda found: (-found.score, found.id))

    def count(self, where: Filter | None = None) -> int:
        """Return how many pictures fulfil a filter."""
        return cast(int, self._ask("count", _condition(where)))

    def ids(self) -> Iterator[int]:
        """Go through all ids, smallest first."""
        following: int | None = 0
        while following is not None:
            some, following = cast(tuple[list[int], int | None], self._ask("ids", following))
            yield from some

    def flush(self) -> None:
        """Bring everything to disk."""
        self._ask("flush")

    def optimise(self, report: ProgressCallback | None = None) -> None:
        """Build graphs in a copy of the shard where many points have none; return when the copy has replaced it.

        Searches and changes go on meanwhile. Changes go to the shard and to a journal, which is replayed on the copy.

        Raises:
            InputError: The disk has no space for the copy, or the store was closed meanwhile; it stays as it was.
        """
        with self._building:
            points, indexed, loose = cast(tuple[int, int, int], self._ask("info"))
            if loose * self._size * 4 // 1024 < self._settings["plain_kilobytes"] and indexed <= 1.25 * points:
                return
            progress = report or ignore_progress
            progress("building the index", 0, points)
            copy = self._folder.path / f"{_SHARD}{int(self._folder.data.removeprefix(_SHARD)) + 1}"
            try:
                self._copy(copy)
                self._build(copy, lambda: progress("building the index", 0, points))
                self._switch(copy)
            except BaseException:
                self._journal = None
                shutil.rmtree(copy, ignore_errors=True)
                raise
            progress("building the index", points, points)

    def _copy(self, copy: Path) -> None:
        """Copy the shard's files and begin the journal."""
        # No flush before: searches would wait for the disk. The files are as a kill would leave them, and are repaired
        # from their log when the builder opens them. The lock keeps changes out between the copy and the journal's
        # beginning: one in between would be lost with the old shard.
        with self._writing:
            try:
                shutil.copytree(self._process.path, copy)
            except OSError as error:
                raise unwritable(copy, error) from error
            self._journal = []

    def _build(self, copy: Path, while_waiting: Callable[[], None]) -> None:
        builder = EdgeProcess(copy)
        self._builder = builder
        try:
            if self._closed:  # `close` kills only a builder that it sees, so look again after it is visible
                raise EdgeEndedError("closed")
            builder.ask("open", self._settings, dict(INDICES), LINKED)
            builder.ask("optimise", while_waiting=while_waiting)
            builder.ask("close")
            builder.end()
        except EdgeEndedError as error:
            raise InputError(f"{copy}: building the index was stopped ({error})", "run the command again") from error
        finally:
            self._builder = None
            builder.kill()

    def _switch(self, copy: Path) -> None:
        """Replay the journal on the copy, and make it the shard."""
        following = self._start(copy)  # before the lock: loading takes seconds, and changes need not wait for it
        try:
            with self._writing:
                # The marker changes only when the copy holds every change and has flushed them: a kill at any moment
                # leaves a marker that names one whole shard. The other folder is deleted at the next start.
                for name, arguments in self._journal or []:
                    following.ask(name, *arguments)
                following.ask("flush")
                self._folder.point_to(copy.name)
                self._journal = None
                former, self._process = self._process, following
        except BaseException:
            following.kill()
            raise
        former.end()
        shutil.rmtree(former.path, ignore_errors=True)

    def close(self) -> None:
        """Flush and release the folder; a second call does nothing. An index being built is abandoned."""
        if self._closed:
            return
        self._closed = True
        if self._builder is not None:
            self._builder.kill()
        with self._building, self._writing:
            self._process.end()
            self._folder.close()

    def _write(self, name: str, *arguments: object) -> None:
        with self._writing:
            self._ask(name, *arguments)
            if self._journal is not None:
                self._journal.append((name, arguments))

    def _ask(self, name: str, *arguments: object) -> object:
        """Send a request to the shard's process; where that has ended, start another and send it once more."""
        if self._closed:
            raise InputError(f"{self._folder.path}: this store is closed", "open it again")
        process = self._process
        try:
            return process.ask(name, *arguments)
        except EdgeEndedError:
            self._revive(process)
        try:
            return self._process.ask(name, *arguments)
        except EdgeEndedError as error:
            raise _ended(self._folder.path, f"the engine ended twice at '{name}' ({error})") from error

    def _revive(self, ended: EdgeProcess) -> None:
        with self._writing:
            if self._process is ended:  # else another thread has started one already
                ended.end(patience=10.0)
                self._process = self._start(ended.path)

    def _start(self, path: Path) -> EdgeProcess:
        process = EdgeProcess(path)
        try:
            process.ask("open", self._settings, dict(INDICES), LINKED)
        except EdgeEndedError as error:
            process.kill()
            raise _ended(path, f"the engine ended while opening it ({error})") from error
        except BaseException:
            process.kill()
            raise
        return process

    def _drop_all_but(self, kept: str) -> None:
        for folder in self._folder.path.glob(f"{_SHARD}*"):
            if folder.name != kept:
                shutil.rmtree(folder, ignore_errors=True)


def _ended(path: Path, how: str) -> InputError:
    """Return the error of an engine that ended; on a full disk, writing to a mapped file ends it by a signal."""
    try:
        is_full = shutil.disk_usage(path.parent).free < _LEAST_FREE
    except OSError:
        is_full = False
    if is_full:
        return InputError(f"{path}: no room left ({how})", "free some disk space and run the same command again")
    return InputError(f"{path}: {how}", REBUILD)


def _condition(where: Filter | None) -> Condition | None:
    return None if where is None else native(where)
