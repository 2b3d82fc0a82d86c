"""A file is whole or not there."""

from __future__ import annotations

import errno
import os

import pytest

from crossgraph.core.errors import InputError
from crossgraph.files import atomic_write, is_leftover, read_json, read_text, sha256, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "card.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["card.json"]


def test_what_a_killed_write_leaves_is_known_by_its_name(tmp_path):
    with atomic_write(tmp_path / "card.json"):
        (name,) = [path.name for path in tmp_path.iterdir()]  # all there would be, were this the end
    assert is_leftover(name)
    assert not any(map(is_leftover, ("card.json", ".card.json", "card.json.tmp", ".my-notes.tmp", ".notes.2026.tmp")))


def test_a_full_disk_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"x\.json: no room left.*free some disk space"):
        write_json(tmp_path / "x.json", [1])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="taken"):
        write_text(tmp_path / "taken" / "x.json", "")


@pytest.mark.parametrize(
    "content, words",
    [(b"{\n  broken", "line 2, column 3"), (b"\xff\xfe\x00", "not UTF-8"), (b"", "line 1, column 1")],
)
def test_a_broken_json_names_the_place(tmp_path, content, words):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_json(tmp_path / "x.json")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_text(tmp_path / "nothing")
    with pytest.raises(InputError, match="is a directory"):
        read_text(tmp_path)


def test_nan_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "x.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_sha256_of_the_first_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abcdef")
    (tmp_path / "b").write_bytes(b"abcxyz")
    assert sha256(tmp_path / "a", 3) == sha256(tmp_path / "b", 3)
    assert sha256(tmp_path / "a") != sha256(tmp_path / "b")
