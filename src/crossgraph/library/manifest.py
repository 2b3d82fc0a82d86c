"""The manifest: an SQLite file that lists the pictures, their files, and the positions of their codes."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crossgraph.library.schema import Connection, connect, needs_copy
from crossgraph.vision.scan import PictureFile

FILE = "manifest.sqlite"
_CHUNK = 500  # ids in one statement
_PICTURE = """
SELECT id, sha256, date, camera, latitude, longitude, state, coalesce(width, 0) AS width, coalesce(height, 0) AS height,
    coalesce(orientation, 1) AS orientation, coalesce(alike, id) AS alike, coalesce(reason, '') AS reason
FROM pictures WHERE id IN ({})
"""


@dataclass(frozen=True)
class Picture:
    """One picture: one content, at however many paths.

    Attributes:
        id: Stable as long as the content is in the library.
        sha256: Of the file's bytes.
        paths: Of its files; copies have several. Empty when it has just been removed.
        width: In pixels, upright.
        height: In pixels, upright.
        date: When it was taken, ISO without zone, or None.
        camera: Make and model, or None.
        latitude: In degrees, or None.
        longitude: In degrees, or None.
        orientation: EXIF orientation of the file, 1..8.
        captions: From captions files.
        alike: Least id of the pictures that look nearly the same, itself included.
        state: "ready" or "broken".
        reason: Why it is broken.
    """

    id: int
    sha256: str
    paths: tuple[Path, ...]
    width: int
    height: int
    date: str | None
    camera: str | None
    latitude: float | None
    longitude: float | None
    orientation: int
    captions: tuple[str, ...]
    alike: int
    state: Literal["ready", "broken"]
    reason: str

    def fields(self, roots: Iterable[Path]) -> dict[str, Any]:
        """Return the values that the picture can be filtered by."""
        paths = [str(path) for path in self.paths]
        return {
            "path": paths,
            "name": [path.name for path in self.paths],
            "folder": [str(path.parent) for path in self.paths],
            "root": [str(root) for root in roots if any(path.is_relative_to(root) for path in self.paths)],
            "caption": list(self.captions),
            "date": self.date,
            "camera": self.camera,
            "width": self.width,
            "height": self.height,
            "megapixels": round(self.width * self.height / 1e6, 3),
            "latitude": self.latitude,
            "longitude": self.longitude,
        }


@dataclass(frozen=True)
class RecordPosition:
    """The position of a record: generation and shard of the file, and the row in it."""

    generation: int
    shard: int = 0
    row: int = 0

    @property
    def following(self) -> RecordPosition:
        """Return the position behind it."""
        return RecordPosition(self.generation, self.shard, self.row + 1)


@dataclass(frozen=True)
class KnownFile:
    """What the manifest knows of a file, by which an unchanged one is recognised without reading it.

    Attributes:
        picture: Id of its content.
        size: In bytes.
        modified: Its mtime in nanoseconds.
        changed: Its ctime in nanoseconds; None where an older program indexed it.
        broken: Why it cannot be used, or empty.
        reader: Program and decoders that found it broken, as `reader_signature` returns them.
    """

    picture: int
    size: int
    modified: int
    changed: int | None
    broken: str
    reader: str


class Manifest:
    """One library's manifest; every thread has a connection of its own.

    Args:
        folder: The library.
        create: Whether a missing one is made.

    Raises:
        InputError: It is missing, damaged, of a newer program, or cannot be written.
    """

    def __init__(self, folder: Path, create: bool = False) -> None:
        self.path = folder / FILE
        self._create = create
        self.is_read_only = self.path.exists() and not (os.access(folder, os.W_OK) and os.access(self.path, os.W_OK))
        self._copy = _writable_copy(self.path) if self.is_read_only and needs_copy(self.path) else None
        self._local = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._counting: Connection | None = None
        self._counts: dict[str, int] = {}
        self._counted_version = -1  # SQLite's version of the data that `_counts` were counted in
        _ = self.connection

    @property
    def connection(self) -> Connection:
        """Return this thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
            with self._guard:
                self._connections.add(connection)
        return connection

    def _connect(self) -> Connection:
        if self._copy is not None:
            return connect(Path(self._copy.name) / FILE, create=False)
        return connect(self.path, self._create, read_only=self.is_read_only)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block whose changes are committed together or not at all; they are on disk when it ends.

        Raises:
            InputError: The disk is full or cannot be written.
        """
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            raise

    def close(self) -> None:
        """Close all connections."""
        with self._guard:
            for connection in list(self._connections):
                connection.close()
            self._connections.clear()
            self._counting = None
        self._local = threading.local()
        if self._copy is not None:
            self._copy.cleanup()

    def meta(self, key: str, default: str = "") -> str:
        """Return the value of a key."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else default

    def remember(self, values: Mapping[str, str]) -> None:
        """Write values of keys."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    def forget(self, keys: Iterable[str]) -> None:
        """Delete keys with their values."""
        with self.transaction() as connection:
            connection.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in keys])

    def roots(self) -> dict[int, Path]:
        """Return the folders that are indexed, by id."""
        return {row[0]: Path(row[1]) for row in self.connection.execute("SELECT id, path FROM roots ORDER BY id")}

    def add_root(self, path: Path) -> int:
        """Return the id of a root, which is added where it is new; roots inside it become part of it."""
        inner = [number for number, root in self.roots().items() if root != path and root.is_relative_to(path)]
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO roots (path, added) VALUES (?, ?)", (str(path), now()))
            (added,) = connection.execute("SELECT id FROM roots WHERE path = ?", (str(path),)).fetchone()
            connection.executemany("UPDATE files SET root = ? WHERE root = ?", [(added, number) for number in inner])
            connection.executemany("DELETE FROM roots WHERE id = ?", [(number,) for number in inner])
        return added

    def count(self, state: Literal["ready", "broken"] = "ready") -> int:
        """Return how many pictures are in a state and still have a file.

        Every search asks this, so it is counted once after each change: SQLite tells a connection that never writes
        whether any other has.
        """
        with self._guard:
            if self._counting is None:
                self._counting, self._counted_version = self._connect(), -1
                self._connections.add(self._counting)
            (version,) = self._counting.execute("PRAGMA data_version").fetchone()
            if version != self._counted_version:
                (total,) = self._counting.execute("SELECT count(DISTINCT picture) FROM files").fetchone()
                query = "SELECT count(*) FROM pictures WHERE state = 'broken' AND id IN (SELECT picture FROM files)"
                (broken,) = self._counting.execute(query).fetchone()
                self._counts, self._counted_version = {"ready": total - broken, "broken": broken}, version
            return self._counts[state]

    def ids(self, state: str = "ready") -> list[int]:
        """Return the ids of pictures that are in a state and still have a file, ascending."""
        query = "SELECT id FROM pictures WHERE state = ? AND id IN (SELECT picture FROM files) ORDER BY id"
        return [row[0] for row in self.connection.execute(query, (state,))]

    def get(self, ids: Sequence[int]) -> dict[int, Picture]:
        """Return pictures by id; unknown ids are left out."""
        paths: dict[int, list[Path]] = defaultdict(list)
        for row in self._select_in("SELECT picture, path FROM files WHERE picture IN ({}) ORDER BY path", ids):
            paths[row[0]].append(Path(row[1]))
        captions: dict[int, list[str]] = defaultdict(list)
        query = "SELECT DISTINCT picture, text FROM captions WHERE picture IN ({}) ORDER BY text"
        for row in self._select_in(query, ids):
            captions[row[0]].append(row[1])
        return {
            row["id"]: Picture(**dict(row), paths=tuple(paths[row["id"]]), captions=tuple(captions[row["id"]]))
            for row in self._select_in(_PICTURE, ids)
        }

    def positions(self, ids: Sequence[int]) -> dict[int, RecordPosition]:
        """Return the positions of pictures' codes; pictures without codes are left out."""
        query = "SELECT id, generation, shard, row FROM pictures WHERE id IN ({}) AND shard IS NOT NULL"
        return {row[0]: RecordPosition(row[1], row[2], row[3]) for row in self._select_in(query, ids)}

    def by_content(self, sha256: str) -> tuple[int, str] | None:
        """Return id and state of a content, or None where it is new."""
        row = self.connection.execute("SELECT id, state FROM pictures WHERE sha256 = ?", (sha256,)).fetchone()
        return (row[0], row[1]) if row else None

    def files(self, root: int) -> dict[str, KnownFile]:
        """Return the known files of a root, by path."""
        query = (
            "SELECT path, picture, size, modified, changed, "
            "CASE state WHEN 'broken' THEN coalesce(reason, '') ELSE '' END, coalesce(reader, '') "
            "FROM files JOIN pictures ON pictures.id = picture WHERE root = ?"
        )
        return {row[0]: KnownFile(*row[1:]) for row in self.connection.execute(query, (root,))}

    def set_changed_times(self, files: Iterable[PictureFile]) -> None:
        """Write the ctime of unchanged files that an older program indexed."""
        rows = [(file.changed, file.path) for file in files]
        if rows:
            with self.transaction() as connection:
                connection.executemany("UPDATE files SET changed = ? WHERE path = ?", rows)

    def clear_file_times(self, paths: Iterable[str]) -> None:
        """Make files count as changed, so that the next indexing run reads them again."""
        with self.transaction() as connection:
            connection.executemany("UPDATE files SET size = -1 WHERE path = ?", [(path,) for path in paths])

    def contents(self) -> list[tuple[str, str]]:
        """Return (path, SHA-256) of every file, by path."""
        query = "SELECT path, sha256 FROM files JOIN pictures ON pictures.id = picture ORDER BY path"
        return [(row[0], row[1]) for row in self.connection.execute(query)]

    def group_members(self, groups: Sequence[int]) -> dict[int, list[int]]:
        """Return the ready pictures of some groups of near-duplicates, ascending."""
        members: dict[int, list[int]] = {}
        query = "SELECT id, alike FROM pictures WHERE alike IN ({}) AND state = 'ready' ORDER BY id"
        for row in self._select_in(query, groups):
            members.setdefault(row[1], []).append(row[0])
        return members

    def pending(self) -> list[int]:
        """Return the pictures whose points in the store may be out of date."""
        return [row[0] for row in self.connection.execute("SELECT picture FROM pending ORDER BY picture")]

    def clear_pending(self, *keys: str) -> None:
        """Note that the store holds all pictures as they are now, on disk; delete some keys with that."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM pending")
            connection.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in keys])

    def broken(self) -> list[tuple[str, str]]:
        """Return (path, reason) of broken pictures."""
        query = (
            "SELECT path, reason FROM files JOIN pictures ON pictures.id = picture WHERE state = 'broken' ORDER BY path"
        )
        return [(row[0], row[1] or "") for row in self.connection.execute(query)]

    def hashes(self) -> list[tuple[int, bytes | None]]:
        """Return the difference hash of every ready picture, by ascending id."""
        rows = self.connection.execute("SELECT id, hash FROM pictures WHERE state = 'ready' ORDER BY id")
        return [(row[0], row[1]) for row in rows]

    def alike(self, ids: Sequence[int]) -> dict[int, int]:
        """Return each picture's group of near-duplicates."""
        rows = self._select_in("SELECT id, coalesce(alike, id) FROM pictures WHERE id IN ({})", ids)
        return {row[0]: row[1] for row in rows}

    def _select_in(self, query: str, ids: Sequence[int]) -> Iterator[Any]:
        """Yield the rows of a query that has `{}` for a list of ids, in chunks that one statement takes."""
        for start in range(0, len(ids), _CHUNK):
            chunk = [int(number) for number in ids[start : start + _CHUNK]]
            yield from self.connection.execute(query.format(",".join("?" * len(chunk))), chunk)


def _writable_copy(path: Path) -> tempfile.TemporaryDirectory[str]:
    """Copy a manifest and its write-ahead log into a temporary folder, where it can be brought up to date."""
    folder = tempfile.TemporaryDirectory(prefix="crossgraph-")
    for name in (FILE, f"{FILE}-wal"):
        if path.with_name(name).exists():
            shutil.copyfile(path.with_name(name), Path(folder.name) / name)
    return folder


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
