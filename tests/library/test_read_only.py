"""A library on a read-only medium is searched, and commands that change it say why they cannot."""

from __future__ import annotations

import os
from pathlib import Path

from references.tiny_library import index, new_library, write_pictures

from crossgraph.cli.main import main
from crossgraph.library import Library


def test_it_is_searched_and_writers_are_refused(tmp_path, capfd, monkeypatch):
    """Asking whether a folder can be written stands for a read-only medium, since tests may run as root."""
    photos = write_pictures(tmp_path / "photos", 5)
    with new_library(tmp_path / "library", "edge") as library:
        index(library, photos)
    monkeypatch.setenv("CROSSGRAPH_LIBRARY", str(tmp_path / "library"))
    before = contents(tmp_path / "library")
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    capfd.readouterr()
    assert main(["search", "a red dog"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 5
    assert contents(tmp_path / "library") == before, "nothing was written"
    for command in (["index"], ["library", "verify"], ["library", "remove", str(photos)]):
        assert main(command) == 2
        said = capfd.readouterr().err.splitlines()
        assert len(said) == 1
        assert "cannot be written here, only searched" in said[0]
    assert contents(tmp_path / "library") == before


def test_what_its_last_writer_left_in_the_log_is_read_too(tmp_path, monkeypatch):
    """A killed writer leaves a write-ahead log, which SQLite cannot read where it cannot make a lock file."""
    library = new_library(tmp_path / "library")
    index(library, write_pictures(tmp_path / "photos", 5))
    (tmp_path / "copy").mkdir()
    for path in (tmp_path / "library").rglob("*"):
        target = tmp_path / "copy" / path.relative_to(tmp_path / "library")
        target.mkdir(parents=True, exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    library.close()
    assert (tmp_path / "copy" / "manifest.sqlite-wal").stat().st_size
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with Library(tmp_path / "copy") as opened:
        assert (opened.is_read_only, opened.count()) == (True, 5)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
