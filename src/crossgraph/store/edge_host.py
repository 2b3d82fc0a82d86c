"""Serve one Edge shard from a process of its own: answer the parent's requests, one after another.

Edge keeps Python's one lock through every call, so that in the parent a flush would stop all threads; here it
stops nothing else. This file is started by its path, by `crossgraph.store.edge_process`, and imports only the locks of
the package: `python edge_host.py DESCRIPTOR PATH`.

A request is (number, name, arguments), an answer (number, whether it went well, result or message). At the end
of the requests, or of the parent, the shard is flushed and closed.
"""

from __future__ import annotations

import array
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossgraph.locks import FileLock

if TYPE_CHECKING:
    import qdrant_edge as qe

FOLDER_OF_SEGMENTS = "segments"
BATCH_OF_IDS = 10_000
LOCK = "host.lock"
_NICE = 10
_FILTERED = 4  # factor on the candidates of a filtered search, since a filter hides a part of the graph
_PATIENCE = 30.0  # seconds that a former host may take to flush and end

Settings = dict[str, int]
Condition = dict[str, Any]


class Host:
    """Answers requests on one shard."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._shard: qe.EdgeShard | None = None
        self._settings: Settings = {}
        self._lock: FileLock | None = None
        self._loose = 0

    @property
    def _open(self) -> qe.EdgeShard:
        assert self._shard is not None, "no shard is open"
        return self._shard

    def open(self, settings: Settings, indices: dict[str, str], linked: list[str]) -> None:
        """Open the shard, or create it with indices on fields; wait for a former process to release it."""
        import qdrant_edge as qe

        # Our lock comes before the first read. Edge takes its own only after it has read and repaired the files; a
        # former host that is still flushing (its parent was killed) would write into what was just repaired.
        self._acquire()
        self._settings = settings
        config = qe.EdgeConfig(
            vectors=qe.EdgeVectorParams(settings["size"], qe.Distance.Cosine),
            hnsw_config=qe.HnswIndexConfig(
                settings["m"],
                settings["ef_construct"],
                settings["full_scan"],
                max_indexing_threads=os.cpu_count() or 1,
            ),
            optimizers=qe.EdgeOptimizersConfig(
                default_segment_number=settings["segments"],
                indexing_threshold=settings["plain_kilobytes"],
                max_segment_size=settings["segment_kilobytes"],
            ),
        )
        if (Path(self._path) / FOLDER_OF_SEGMENTS).is_dir():
            self._shard = qe.EdgeShard.load(self._path, config)
            return
        self._shard = qe.EdgeShard.create(self._path, config)
        for field, kind in indices.items():
            self._shard.update(qe.UpdateOperation.create_field_index(field, _index(kind, field in linked)))
        self._shard.flush()

    def _acquire(self) -> None:
        until = time.monotonic() + _PATIENCE
        try:
            self._lock = FileLock(Path(self._path) / LOCK, lambda: time.monotonic() < until)
        except BlockingIOError:
            raise TimeoutError("another process still has it open") from None
        self._loose = int(self._lock.read().strip() or 0)

    def _write_loose(self, loose: int) -> None:
        """Write how many points were added since the graph was built; Edge does not report it."""
        # Kept in the lock file: only its holder writes, and it survives this process. The text has always the same
        # length, so that a kill between writing and cutting leaves a number that can be read.
        assert self._lock is not None, "no shard is open"
        self._loose = loose
        self._lock.write(f"{loose:<20}")

    def upsert(self, ids: list[int], vectors: bytes, payloads: list[dict[str, Any]]) -> None:
        """Add or replace points; vectors are float32 rows."""
        import qdrant_edge as qe

        values, size = array.array("f", vectors), self._settings["size"]
        rows = [values[start : start + size].tolist() for start in range(0, len(values), size)]
        points = [qe.Point(id, row, payload) for id, row, payload in zip(ids, rows, payloads, strict=True)]
        # Counted first: a kill in between leaves a count that is too high, and the graph is built a little early. One
        # that is too low would leave points outside the graph, which every search compares one by one.
        self._write_loose(self._loose + len(ids))
        self._open.update(qe.UpdateOperation.upsert_points(points))

    def delete(self, ids: list[int]) -> None:
        """Remove points."""
        import qdrant_edge as qe

        self._open.update(qe.UpdateOperation.delete_points([*ids]))

    def search(self, vector: bytes, limit: int, where: Condition | None, exact: bool) -> tuple[list[int], list[float]]:
        """Find the nearest points."""
        import qdrant_edge as qe

        candidates = max(self._settings["ef"], 2 * limit) * (1 if where is None else _FILTERED)
        request = qe.SearchRequest(
            qe.Query.Nearest(array.array("f", vector).tolist()),
            limit,
            filter=None if where is None else _filter(where),
            params=qe.SearchParams(hnsw_ef=candidates, exact=exact),
        )
        found = self._open.search(request)
        return [_number(point.id) for point in found], [point.score for point in found]

    def count(self, where: Condition | None) -> int:
        """Count points."""
        import qdrant_edge as qe

        return self._open.count(qe.CountRequest(filter=None if where is None else _filter(where)))

    def ids(self, start: int) -> tuple[list[int], int | None]:
        """Return some ids from `start` on, and where to go on."""
        import qdrant_edge as qe

        request = qe.ScrollRequest(offset=start, limit=BATCH_OF_IDS, with_payload=False, with_vector=False)
        records, following = self._open.scroll(request)
        return [_number(record.id) for record in records], None if following is None else _number(following)

    def info(self) -> tuple[int, int, int]:
        """Count points, vectors in a graph with those that were deleted, and points written since it was built."""
        info = self._open.info()
        return info.points_count, info.indexed_vectors_count, self._loose

    def flush(self) -> None:
        """Bring everything to disk."""
        self._open.flush()

    def optimise(self) -> None:
        """Build graphs, at low priority; ends with the process that asked for it."""
        # This process works in a copy of the shard (see `EdgeStore.optimise`) and is of no use without its parent: an
        # orphan would keep all cores busy for minutes.
        _end_with_parent()
        os.nice(_NICE)
        while self._open.optimize():  # each call does one step, and returns whether there was one to do
            pass
        self._write_loose(0)
        self._open.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._shard is not None:
            shard, self._shard = self._shard, None
            shard.flush()
            shard.close()


def _number(id: object) -> int:
    return int(str(id))


def _index(kind: str, linked: bool) -> Any:
    import qdrant_edge as qe

    if kind == "keyword":
        return qe.KeywordIndexParams(prefix=True, enable_hnsw=linked)
    if kind == "float":
        return qe.FloatIndexParams(enable_hnsw=linked)
    return qe.IntegerIndexParams(lookup=True, range=True, enable_hnsw=linked)


def _filter(given: Condition) -> qe.Filter:
    """Build a filter from its REST form."""
    import qdrant_edge as qe

    parts = {
        name: [_condition(part) for part in given[name]] for name in ("must", "should", "must_not") if name in given
    }
    return qe.Filter(must=parts.get("must"), should=parts.get("should"), must_not=parts.get("must_not"))


def _condition(given: Condition) -> Any:
    import qdrant_edge as qe

    if "is_empty" in given:
        return qe.IsEmptyCondition(given["is_empty"]["key"])
    if "key" not in given:
        return _filter(given)
    if "range" in given:
        bounds: dict[str, float] = given["range"]
        within = qe.RangeFloat(gte=bounds.get("gte"), gt=bounds.get("gt"), lte=bounds.get("lte"), lt=bounds.get("lt"))
        return qe.FieldCondition(given["key"], range=within)
    match = given["match"]
    wanted = qe.MatchSubstring(match["substring"]) if "substring" in match else qe.MatchValue(match["value"])
    return qe.FieldCondition(given["key"], match=wanted)


def _end_with_parent() -> None:
    """Make the system end this process with its parent, where it can (Linux)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1 is PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before prctl, so no signal will come
            os._exit(1)


def serve(connection: Connection, path: str) -> None:
    """Answer requests until there are no more."""
    host = Host(path)
    while True:
        try:
            number, name, arguments = connection.recv()
        except (EOFError, OSError):  # the parent closed its end, or was killed: what it wrote must reach the disk
            host.close()
            return
        try:
            answer = (number, True, getattr(host, name)(*arguments))
        except BaseException as error:  # noqa: BLE001 - also what Edge raises where it panics
            answer = (number, False, f"{error}")
        try:
            connection.send(answer)
        except OSError:
            host.close()
            return
        if name == "close":
            return


def main(arguments: Sequence[str]) -> None:
    """Serve the shard at a path over a socket that was handed over."""
    # The parent decides what Ctrl-C means, and closes the connection: unflushed points must not be lost.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(int(arguments[0])), arguments[1])


if __name__ == "__main__":
    main(sys.argv[1:])
