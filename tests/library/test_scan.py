"""Which files of a root are its pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.library.scan import check_roots, scan_root


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "root").mkdir()
    return (tmp_path / "root").resolve()


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def found(root: Path, *arguments: object) -> list[str]:
    return [Path(file.path).relative_to(root).as_posix() for file in scan_root(root, *arguments).files]  # type: ignore[arg-type]


def test_pictures_are_found_by_their_endings_in_order(root):
    for name in ("b.JPG", "a/c.jpeg", "a/d.webp", "notes.txt", "e.heic", "captions.csv"):
        put(root / name)
    assert found(root, (), (), True) == ["a/c.jpeg", "a/d.webp", "b.JPG", "e.heic"]


def test_without_the_extra_a_heic_picture_is_named_with_the_command_that_helps(root):
    put(root / "e.heic")
    scan = scan_root(root)
    assert not scan.files
    assert "pip install 'crossgraph[heif]'" in scan.notes[0][1]


def test_hidden_files_and_folders_are_skipped(root):
    for name in (".hidden.jpg", ".thumbs/a.jpg", "a/.b/c.jpg", "a/._d.jpg", "a/e.jpg"):
        put(root / name)
    assert found(root) == ["a/e.jpg"]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [("raw", ["a.jpg", "b/a.tmp.jpg"]), ("*.tmp.jpg", ["a.jpg", "raw/c.jpg"]), ("b/*", ["a.jpg", "raw/c.jpg"])],
)
def test_excluded_names_and_paths_are_passed_over(root, pattern, left):
    for name in ("a.jpg", "b/a.tmp.jpg", "raw/c.jpg"):
        put(root / name)
    assert found(root, [pattern]) == left


def test_a_link_never_leads_out_of_the_root(root, tmp_path):
    secret = put(tmp_path / "outside" / "secret.jpg")
    (root / "folder").symlink_to(secret.parent)
    (root / "file.jpg").symlink_to(secret)
    (root / "up.jpg").symlink_to("../outside/secret.jpg")
    scan = scan_root(root)
    assert not scan.files
    assert len(scan.notes) == 3
    assert all("leads out" in reason for _, reason in scan.notes)


def test_a_linked_folder_inside_the_root_counts_once_by_its_real_name(root):
    put(root / "z_real" / "a.jpg")
    (root / "a_link").symlink_to(root / "z_real")
    assert found(root) == ["z_real/a.jpg"]


def test_loops_of_links_end(root):
    put(root / "a" / "b.jpg")
    (root / "a" / "again").symlink_to(root)
    (root / "x").symlink_to(root / "y")
    (root / "y").symlink_to(root / "x")
    assert found(root) == ["a/b.jpg"]


def test_a_link_to_nothing_is_named(root):
    (root / "gone.jpg").symlink_to(root / "nothing.jpg")
    assert scan_root(root).notes == [(str(root / "gone.jpg"), "a link to nothing")]


def test_a_name_that_is_not_utf8_is_named_and_the_rest_found(root):
    put(root / "fine.jpg")
    put(Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.jpg")))
    scan = scan_root(root)
    assert len(scan.files) == 1
    assert "not UTF-8" in scan.notes[0][1]
    scan.notes[0][0].encode("utf-8")  # it can be printed


def test_the_library_itself_is_never_entered_by_whatever_name(root):
    put(root / "library" / "thumbnails" / "a.webp")
    (root / "other").symlink_to(root / "library")
    put(root / "a.jpg")
    assert found(root, (), [root / "library"]) == ["a.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_opened_is_named(root):
    put(root / "closed" / "a.jpg")
    (root / "closed").chmod(0)
    try:
        scan = scan_root(root)
    finally:
        (root / "closed").chmod(0o755)
    assert scan.unread == [str(root / "closed")]
    assert "permission denied" in scan.notes[0][1]


def test_a_fifo_named_like_a_picture_is_not_waited_for(root):
    os.mkfifo(root / "pipe.jpg")
    assert scan_root(root).notes == [(str(root / "pipe.jpg"), "not a regular file")]


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
