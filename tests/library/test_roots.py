"""Which folders are roots of a library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.library.roots import check_roots


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_of_nested_roots_the_outer_one_is_kept(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    assert check_roots([tmp_path / "a" / "b", tmp_path / "a", tmp_path / "link"]) == [(tmp_path / "a").resolve()]


@pytest.mark.parametrize(("name", "problem"), [("missing", "no such folder"), ("file.jpg", "is a file")])
def test_a_root_that_is_no_folder_is_refused(tmp_path, name, problem):
    put(tmp_path / "file.jpg")
    with pytest.raises(InputError, match=problem):
        check_roots([tmp_path / name])


def test_a_root_whose_name_is_not_utf8_is_refused(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    with pytest.raises(InputError, match="not UTF-8"):
        check_roots([folder])
