"""Defines the manifest's tables, opens its file, and brings an older one up to date.

`pictures` has one row per *content*: a copy or a renamed file is the same picture. `files` has the paths of each,
`pending` the pictures whose points in the store may be out of date. Everything else on disk (codes, thumbnails,
nearest neighbours) can be made again from here and the files. `pictures.reader` names the program and decoders that
could not read a broken picture, `files.changed` is the file's ctime; both are NULL in rows of an older program.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crossgraph.core.errors import InputError
from crossgraph.files import unwritable

VERSION = 2

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, added TEXT NOT NULL);
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 TEXT NOT NULL UNIQUE,
    width INTEGER, height INTEGER, orientation INTEGER,
    date TEXT, camera TEXT, latitude REAL, longitude REAL,
    hash BLOB, alike INTEGER,
    state TEXT NOT NULL CHECK (state IN ('ready', 'broken')), reason TEXT,
    generation INTEGER, shard INTEGER, row INTEGER,
    feature_shard INTEGER, feature_row INTEGER,
    added TEXT NOT NULL, reader TEXT
);
CREATE INDEX pictures_alike ON pictures (alike);
CREATE INDEX pictures_place ON pictures (generation, shard, row);
CREATE TABLE files (
    path TEXT PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
    picture INTEGER NOT NULL REFERENCES pictures (id) ON DELETE CASCADE,
    size INTEGER NOT NULL, modified INTEGER NOT NULL, changed INTEGER
) WITHOUT ROWID;
CREATE INDEX files_picture ON files (picture);
CREATE TABLE captions (
    picture INTEGER NOT NULL REFERENCES pictures (id) ON DELETE CASCADE, text TEXT NOT NULL,
    root INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
    PRIMARY KEY (picture, text, root)
) WITHOUT ROWID;
CREATE TABLE pending (picture INTEGER PRIMARY KEY);
"""

# MIGRATIONS[n] takes a manifest from version n to n + 1, inside one transaction.
MIGRATIONS: dict[int, str] = {
    1: "ALTER TABLE pictures ADD COLUMN reader TEXT; ALTER TABLE files ADD COLUMN changed INTEGER",
}


class Cursor(sqlite3.Cursor):
    """A cursor that raises `InputError` while rows are fetched too: damage shows only where it is read."""

    def __next__(self) -> Any:
        """Return the next row; see `Connection.execute`."""
        try:
            return super().__next__()
        except sqlite3.DatabaseError as error:
            raise self._input_error(error) from error

    def fetchone(self) -> Any:
        """Return the next row, or None; see `Connection.execute`."""
        try:
            return super().fetchone()
        except sqlite3.DatabaseError as error:
            raise self._input_error(error) from error

    def fetchall(self) -> list[Any]:
        """Return the rows that are left; see `Connection.execute`."""
        try:
            return super().fetchall()
        except sqlite3.DatabaseError as error:
            raise self._input_error(error) from error

    def _input_error(self, error: sqlite3.DatabaseError) -> Exception:
        return _input_error(error, self.connection.path if isinstance(self.connection, Connection) else Path())


class Connection(sqlite3.Connection):
    """A connection that raises `InputError`; it closes when its last reference is gone."""

    path = Path()

    def __del__(self) -> None:
        """Close the connection of a thread that ended without doing so."""
        self.close()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement.

        Raises:
            InputError: The file is damaged, locked, of another layout, or the disk is full.
        """
        with _input_errors(self.path):
            return self.cursor(Cursor).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        """Run a statement for many rows; see `execute`."""
        with _input_errors(self.path):
            return super().executemany(sql, parameters)


@contextlib.contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _input_error(error, path) from error


def _input_error(error: sqlite3.DatabaseError, path: Path) -> Exception:
    """Return SQLite's error as one for people; a defect of this program stays what it is."""
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
        return error
    reason = str(error)
    if "full" in reason or "disk I/O" in reason:
        return unwritable(path, OSError(errno.ENOSPC if "full" in reason else errno.EIO, ""))
    if "locked" in reason or "readonly" in reason or "unable to open" in reason:
        return InputError(f"{path}: {reason}", "check that no other program holds it and that it can be written")
    remedy = "restore it from a backup, or index into a new library"
    return InputError(f"{path}: cannot be read as a manifest ({reason})", remedy)


def needs_copy(path: Path) -> bool:
    """Return whether a manifest on a read-only medium must be copied to be read.

    SQLite can open such a file in place only when nothing is left in the write-ahead log beside it, and an older
    schema can be brought up to date only in a copy.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return True
    with contextlib.closing(_open(path, read_only=True)) as connection, _input_errors(path):
        (version,) = connection.cursor().execute("PRAGMA user_version").fetchone()
    return 0 < version < VERSION


def _open(path: Path, read_only: bool) -> Connection:
    with _input_errors(path):
        options: dict[str, Any] = {"timeout": 30, "isolation_level": None, "check_same_thread": False}
        if read_only:  # immutable: SQLite then needs no lock file, which could not be made
            address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
            return sqlite3.connect(address, uri=True, factory=Connection, **options)
        return sqlite3.connect(path, factory=Connection, **options)


def connect(path: Path, create: bool, read_only: bool = False) -> Connection:
    """Return a connection to a manifest, which is made or brought up to date where needed.

    Args:
        path: The SQLite file.
        create: Whether a missing one is made.
        read_only: Whether its folder cannot be written; its schema must then be up to date.

    Raises:
        InputError: It is missing, no manifest, damaged, or of a newer program.
    """
    if not create and not path.exists():
        raise InputError(f"{path.parent}: is no picture library", "make one with: crossgraph index PICTURES")
    connection = _open(path, read_only)
    try:
        connection.path = path
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        _bring_up_to_date(connection, path)
        if read_only:
            return connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what is reported done survives a power cut
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise InputError(f"{path}: has schema {version}, this program knows {VERSION}", "update crossgraph")
    if version == 0:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise InputError(f"{path}: is another program's database", "choose another library folder")
        _run(connection, _TABLES, VERSION)
        return
    while version < VERSION:
        _run(connection, MIGRATIONS[version], version + 1)
        version += 1


def _run(connection: Connection, script: str, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] < version:  # another process may have been faster
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
