"""Checks and repairs the manifest itself: SQLite's file, and rows that refer to nothing."""

from __future__ import annotations

from crossgraph.core.errors import InputError
from crossgraph.library.manifest import Manifest
from crossgraph.library.schema import Connection

_DANGLING = {
    table: f"DELETE FROM {table} WHERE picture NOT IN (SELECT id FROM pictures) OR root NOT IN (SELECT id FROM roots)"
    for table in ("files", "captions")
}


def repair_manifest(manifest: Manifest) -> int:
    """Check SQLite's file and the references in it; repair what can be repaired without loss.

    A damaged index is made anew from its table. Rows of files and captions without their picture or folder say
    nothing that the next indexing does not find again, so they are deleted.

    Returns:
        How many faults were repaired.

    Raises:
        InputError: The file is damaged beyond that.
    """
    connection = manifest.connection
    faults = _faults(connection)
    if faults:
        connection.execute("REINDEX")
        if left := _faults(connection):
            raise InputError(
                f"{manifest.path}: is damaged ({left[0]})",
                "restore it from a backup, or index into a new library; the pictures themselves are untouched",
            )
    dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    if dangling:
        with manifest.transaction() as inside:
            for statement in _DANGLING.values():
                inside.execute(statement)
    return len(faults) + len(dangling)


def _faults(connection: Connection) -> list[str]:
    """Return the faults that SQLite finds in its file, one line each."""
    lines = [line for row in connection.execute("PRAGMA integrity_check(20)") for line in str(row[0]).splitlines()]
    return [] if lines == ["ok"] else [" ".join(line.split()) for line in lines]
