"""The manifest: which pictures there are, where they lie, and where their codes are. SQLite is the truth."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crossgraph.library.schema import Connection, connect, needs_copy
from crossgraph.vision.scan import PictureFile

FILE = "manifest.sqlite"
_AT_ONCE = 500  # ids in one statement


@dataclass(frozen=True)
class Picture:
    """One picture: one content, wherever it lies.

    Attributes:
        id: Stable as long as the content is in the library.
        sha256: Of the file's bytes.
        paths: Where it lies; copies have several. Empty when it has just been removed.
        width: In pixels, upright.
        height: In pixels, upright.
        date: When it was taken, ISO without zone, or None.
        camera: Make and model, or None.
        latitude: In degrees, or None.
        longitude: In degrees, or None.
        orientation: EXIF orientation of the file, 1..8.
        captions: Given ones.
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
class Place:
    """Where a picture's codes lie: generation and shard of the files, and the row."""

    generation: int
    shard: int
    row: int


@dataclass(frozen=True)
class KnownFile:
    """What the manifest remembers of a file, to recognise an unchanged one without reading it.

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
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._counting: Connection | None = None
        self._counts: dict[str, int] = {}
        self._counted = -1  # what SQLite says of the file's state when `_counts` were counted
        _ = self.connection

    @property
    def connection(self) -> Connection:
        """This thread's connection."""
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._connect()
            self._local.connection = found
            with self._guard:
                self._all.add(found)
        return found

    def _connect(self) -> Connection:
        if self._copy is not None:
            return connect(Path(self._copy.name) / FILE, create=False)
        return connect(self.path, self._create, read_only=self.is_read_only)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a block whose changes are kept together or not at all; on disk when it ends.

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
            for connection in list(self._all):
                connection.close()
            self._all.clear()
            self._counting = None
        self._local = threading.local()
        if self._copy is not None:
            self._copy.cleanup()

    def meta(self, key: str, default: str = "") -> str:
        """Return a remembered value."""
        found = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return found[0] if found else default

    def remember(self, values: Mapping[str, str]) -> None:
        """Remember values."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    def forget(self, keys: Iterable[str]) -> None:
        """Delete remembered values."""
        with self.transaction() as connection:
            connection.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in keys])

    def roots(self) -> dict[int, Path]:
        """Return the folders that are indexed, by id."""
        return {
            row["id"]: Path(row["path"]) for row in self.connection.execute("SELECT id, path FROM roots ORDER BY id")
        }

    def add_root(self, path: Path) -> int:
        """Return the id of a root, which is added where it is new; roots inside it become part of it."""
        inner = [number for number, root in self.roots().items() if root != path and root.is_relative_to(path)]
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO roots (path, added) VALUES (?, ?)", (str(path), now()))
            (found,) = connection.execute("SELECT id FROM roots WHERE path = ?", (str(path),)).fetchone()
            connection.executemany("UPDATE files SET root = ? WHERE root = ?", [(found, number) for number in inner])
            connection.executemany("DELETE FROM roots WHERE id = ?", [(number,) for number in inner])
        return found

    def count(self, state: Literal["ready", "broken"] = "ready") -> int:
        """Return how many pictures are in a state and still lie somewhere.

        Every search asks this, so it is counted once after each change: a connection that never writes is told by
        SQLite whether any other has.
        """
        with self._guard:
            if self._counting is None:
                self._counting, self._counted = self._connect(), -1
                self._all.add(self._counting)
            (now_there,) = self._counting.execute("PRAGMA data_version").fetchone()
            if now_there != self._counted:
                (lying,) = self._counting.execute("SELECT count(DISTINCT picture) FROM files").fetchone()
                query = "SELECT count(*) FROM pictures WHERE state = 'broken' AND id IN (SELECT picture FROM files)"
                (broken,) = self._counting.execute(query).fetchone()
                self._counts, self._counted = {"ready": lying - broken, "broken": broken}, now_there
            return self._counts[state]

    def ids(self, state: str = "ready") -> list[int]:
        """Return the ids of pictures that are in a state and still lie somewhere, ascending."""
        query = "SELECT id FROM pictures WHERE state = ? AND id IN (SELECT picture FROM files) ORDER BY id"
        rows = self.connection.execute(query, (state,))
        return [row[0] for row in rows]

    def get(self, ids: Sequence[int]) -> dict[int, Picture]:
        """Return pictures by id; unknown ids are left out."""
        found: dict[int, Picture] = {}
        for some in chunks(ids):
            marks = ",".join("?" * len(some))
            paths: dict[int, list[Path]] = {}
            for row in self.connection.execute(
                f"SELECT picture, path FROM files WHERE picture IN ({marks}) ORDER BY path", some
            ):
                paths.setdefault(row[0], []).append(Path(row[1]))
            texts: dict[int, list[str]] = {}
            for row in self.connection.execute(
                f"SELECT DISTINCT picture, text FROM captions WHERE picture IN ({marks}) ORDER BY text", some
            ):
                texts.setdefault(row[0], []).append(row[1])
            for row in self.connection.execute(f"SELECT * FROM pictures WHERE id IN ({marks})", some):
                found[row["id"]] = _picture(row, paths.get(row["id"], []), texts.get(row["id"], []))
        return found

    def places(self, ids: Sequence[int]) -> dict[int, Place]:
        """Return where the codes of ready pictures lie."""
        found: dict[int, Place] = {}
        for some in chunks(ids):
            marks = ",".join("?" * len(some))
            query = f"SELECT id, generation, shard, row FROM pictures WHERE id IN ({marks}) AND shard IS NOT NULL"
            for row in self.connection.execute(query, some):
                found[row[0]] = Place(row[1], row[2], row[3])
        return found

    def by_content(self, sha256: str) -> tuple[int, str] | None:
        """Return id and state of a content, or None where it is new."""
        row = self.connection.execute("SELECT id, state FROM pictures WHERE sha256 = ?", (sha256,)).fetchone()
        return (row[0], row[1]) if row else None

    def files(self, root: int) -> dict[str, KnownFile]:
        """Return what is remembered of a root's files, by path."""
        query = (
            "SELECT path, picture, size, modified, changed, "
            "CASE state WHEN 'broken' THEN coalesce(reason, '') ELSE '' END, coalesce(reader, '') "
            "FROM files JOIN pictures ON pictures.id = picture WHERE root = ?"
        )
        rows = self.connection.execute(query, (root,))
        return {row[0]: KnownFile(*row[1:]) for row in rows}

    def date_files(self, files: Iterable[PictureFile]) -> None:
        """Remember the ctime of unchanged files that an older program indexed."""
        rows = [(file.changed, file.path) for file in files]
        if rows:
            with self.transaction() as connection:
                connection.executemany("UPDATE files SET changed = ? WHERE path = ?", rows)

    def undate_files(self, paths: Iterable[str]) -> None:
        """Forget size and times of files, so that the next indexing run reads them again."""
        with self.transaction() as connection:
            connection.executemany("UPDATE files SET size = -1 WHERE path = ?", [(path,) for path in paths])

    def contents(self) -> list[tuple[str, str]]:
        """Return (path, SHA-256) of every file, by path."""
        query = "SELECT path, sha256 FROM files JOIN pictures ON pictures.id = picture ORDER BY path"
        return [(row[0], row[1]) for row in self.connection.execute(query)]

    def group_members(self, groups: Sequence[int]) -> dict[int, list[int]]:
        """Return the ready pictures of some groups of near-duplicates, ascending."""
        found: dict[int, list[int]] = {}
        for some in chunks(groups):
            marks = ",".join("?" * len(some))
            query = f"SELECT id, alike FROM pictures WHERE alike IN ({marks}) AND state = 'ready' ORDER BY id"
            for row in self.connection.execute(query, some):
                found.setdefault(row[1], []).append(row[0])
        return found

    def pending(self) -> list[int]:
        """Return the pictures that the store may not know as they are now."""
        return [row[0] for row in self.connection.execute("SELECT picture FROM pending ORDER BY picture")]

    def settled(self, *forget: str) -> None:
        """Remember that the store knows all pictures, on disk; drop some remembered values with that."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM pending")
            connection.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in forget])

    def broken(self) -> list[tuple[str, str]]:
        """Return (path, reason) of what could not be read."""
        query = (
            "SELECT path, reason FROM files JOIN pictures ON pictures.id = picture WHERE state = 'broken' ORDER BY path"
        )
        return [(row[0], row[1] or "") for row in self.connection.execute(query)]

    def hashes(self) -> list[tuple[int, bytes | None]]:
        """Return the difference hash of every ready picture, by ascending id."""
        rows = self.connection.execute("SELECT id, hash FROM pictures WHERE state = 'ready' ORDER BY id")
        return [(row[0], row[1]) for row in rows]

    def alike(self, ids: Sequence[int]) -> dict[int, int]:
        """Return each picture's group."""
        found: dict[int, int] = {}
        for some in chunks(ids):
            marks = ",".join("?" * len(some))
            rows = self.connection.execute(f"SELECT id, coalesce(alike, id) FROM pictures WHERE id IN ({marks})", some)
            found |= {row[0]: row[1] for row in rows}
        return found


def _writable_copy(path: Path) -> tempfile.TemporaryDirectory[str]:
    """Copy a manifest and its write-ahead log into a temporary folder, where it can be brought up to date."""
    folder = tempfile.TemporaryDirectory(prefix="crossgraph-")
    for name in (FILE, f"{FILE}-wal"):
        if path.with_name(name).exists():
            shutil.copyfile(path.with_name(name), Path(folder.name) / name)
    return folder


def chunks(ids: Sequence[int]) -> Iterator[list[int]]:
    """Cut ids into lists that one statement takes."""
    for start in range(0, len(ids), _AT_ONCE):
        yield [int(number) for number in ids[start : start + _AT_ONCE]]


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _picture(row: Any, paths: list[Path], captions: list[str]) -> Picture:
    return Picture(
        id=row["id"],
        sha256=row["sha256"],
        paths=tuple(paths),
        width=row["width"] or 0,
        height=row["height"] or 0,
        date=row["date"],
        camera=row["camera"],
        latitude=row["latitude"],
        longitude=row["longitude"],
        orientation=row["orientation"] or 1,
        captions=tuple(captions),
        alike=row["alike"] or row["id"],
        state=row["state"],
        reason=row["reason"] or "",
    )
