"""The manifest's own file: versions of its schema, what SQLite itself finds wrong with it, and what is none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from references.tiny_library import index, new_library, write_pictures

from crossgraph.core.errors import InputError
from crossgraph.library import Library, maintenance, schema


def quiet(*said: object) -> None:
    pass


@pytest.fixture
def library(tmp_path) -> Iterator[Library]:
    with new_library(tmp_path / "library") as made:
        index(made, write_pictures(tmp_path / "photos", 6))
        yield made


def test_a_library_of_a_newer_program_is_left_alone(library):
    library.manifest.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match=r"has schema 99, this program knows 2.*update crossgraph"):
        Library(library.folder)


def test_another_programs_database_is_left_alone(tmp_path):
    (tmp_path / "x").mkdir()
    database = sqlite3.connect(tmp_path / "x" / "manifest.sqlite")
    database.execute("CREATE TABLE songs (name TEXT)")
    database.close()
    before = (tmp_path / "x" / "manifest.sqlite").read_bytes()
    with pytest.raises(InputError, match="another program's database"):
        Library(tmp_path / "x")
    assert (tmp_path / "x" / "manifest.sqlite").read_bytes() == before


def test_a_file_that_is_no_database_is_called_so(tmp_path):
    (tmp_path / "manifest.sqlite").write_text("hello, this is a long enough text to be read as a header " * 30)
    with pytest.raises(InputError, match="cannot be read as a manifest"):
        Library(tmp_path)


def test_a_damaged_manifest_is_a_line_not_a_traceback(library):
    library.close()
    path = library.folder / "manifest.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read as a manifest"), Library(library.folder) as opened:
        maintenance.verify(opened, quiet)


def test_an_older_manifest_is_brought_up_to_date(library, monkeypatch):
    library.close()
    monkeypatch.setattr(schema, "VERSION", 3)
    monkeypatch.setitem(schema.MIGRATIONS, 2, "ALTER TABLE pictures ADD COLUMN stars INTEGER; CREATE TABLE t (a)")
    with Library(library.folder) as opened:
        assert opened.count() == 6
        assert opened.manifest.connection.execute("PRAGMA user_version").fetchone()[0] == 3
        assert opened.manifest.connection.execute("SELECT stars FROM pictures").fetchone()[0] is None


def test_a_library_of_the_first_schema_is_brought_up_to_date(library, tmp_path):
    connection = library.manifest.connection
    for statement in (
        "ALTER TABLE pictures DROP COLUMN reader",
        "ALTER TABLE files DROP COLUMN changed",
        "PRAGMA user_version = 1",
    ):
        connection.execute(statement)
    library.close()
    with Library(library.folder) as opened:
        assert index(opened, tmp_path / "photos").unchanged == 6


def test_a_migration_that_fails_changes_nothing(library, monkeypatch):
    library.close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", 3)
        patch.setitem(schema.MIGRATIONS, 2, "CREATE TABLE t (a); CREATE TABLE pictures (a)")
        with pytest.raises(InputError):
            Library(library.folder)
    with Library(library.folder) as opened:
        assert not opened.manifest.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 't'").fetchone()


def test_rows_that_point_nowhere_are_taken_out_of_the_manifest(library):
    with sqlite3.connect(library.manifest.path) as other:  # which does not watch over references
        other.execute("PRAGMA foreign_keys = OFF")
        root = other.execute("SELECT id FROM roots").fetchone()[0]
        other.execute("INSERT INTO files VALUES ('gone.png', ?, 999, 1, 1, 1)", (root,))
        other.execute("INSERT INTO captions VALUES (1, 'of no folder', 77)")
    other.close()
    found = maintenance.verify(library, quiet)
    assert (found.manifest, found.sound, found.pictures) == (2, False, 6)
    assert maintenance.verify(library, quiet).sound


def test_a_damaged_index_of_the_manifest_is_made_anew(library):
    execute = library.manifest.connection.execute
    (page,) = execute("SELECT rootpage FROM sqlite_master WHERE name = 'files_picture'").fetchone()
    execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,) = execute("PRAGMA page_size").fetchone()
    library.manifest.close()
    data = bytearray(library.manifest.path.read_bytes())
    data[(page - 1) * size + 3 : (page - 1) * size + 5] = (5).to_bytes(2, "big")  # five entries of six
    library.manifest.path.write_bytes(data)
    assert maintenance.verify(library, quiet).manifest > 0
    assert maintenance.verify(library, quiet).sound


def test_a_manifest_damaged_beyond_mending_is_refused(library):
    execute = library.manifest.connection.execute
    execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = execute("SELECT rootpage FROM sqlite_master WHERE name = 'pictures'").fetchone()
    (size,) = execute("PRAGMA page_size").fetchone()
    library.manifest.close()
    data = bytearray(library.manifest.path.read_bytes())
    data[(page - 1) * size : page * size] = bytes([255]) * size
    library.manifest.path.write_bytes(data)
    for read in (lambda: maintenance.verify(library, quiet), library.info, lambda: library.get(1)):
        with pytest.raises(InputError, match=r"manifest.sqlite: .*restore it from a backup"):
            read()
