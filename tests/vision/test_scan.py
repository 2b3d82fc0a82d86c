"""The pictures of a folder: by ending, below it, sorted; nothing in a folder can hang or loop the search."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.vision.scan import FolderScan, find_pictures, scan_folder


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_pictures_are_found_below_the_folder_sorted_by_their_path(tmp_path):
    touch(tmp_path, "b.PNG", "a/z.jpeg", "a/b/c.webp", "a.jpg", "x.tif", "x.gif", "x.bmp", "notes.txt", "data.npy")
    found = find_pictures(tmp_path).pictures
    assert list(found) == sorted(["b.PNG", "a/z.jpeg", "a/b/c.webp", "a.jpg", "x.tif", "x.gif", "x.bmp"])
    assert found["a/b/c.webp"] == tmp_path / "a" / "b" / "c.webp"


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, "a.jpg", "._a.jpg", ".thumbnails/b.jpg", "c/.d/e.jpg")
    assert list(find_pictures(tmp_path).pictures) == ["a.jpg"]


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path):
    touch(tmp_path, "album.jpg/a.png")
    assert list(find_pictures(tmp_path).pictures) == ["album.jpg/a.png"]


def test_loops_of_links_end_and_each_real_folder_counts_once(tmp_path):
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    (tmp_path / "self").symlink_to("self")
    assert list(find_pictures(tmp_path).pictures) == ["real/a.jpg"]


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path):
    touch(tmp_path, "elsewhere/a.jpg", "photos/b.jpg")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "c.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    assert list(find_pictures(tmp_path / "photos").pictures) == ["b.jpg", "c.jpg", "more/a.jpg"]


def test_what_cannot_be_opened_is_listed_with_its_reason(tmp_path):
    touch(tmp_path, "a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg"))).touch()
    broken = dict(find_pictures(tmp_path).broken)
    assert broken["gone.jpg"] == "a link to nothing"
    assert "symbolic links" in broken["round.jpg"]
    assert broken["pipe.jpg"] == "not a regular file"
    assert broken[r"\udcff\udcfe.jpg"] == "its name is not UTF-8; rename it"


def test_a_subfolder_that_may_not_be_opened_is_listed_and_the_rest_goes_on(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "closed/b.jpg")
    opened = os.scandir

    def scandir(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return opened(path)

    monkeypatch.setattr(os, "scandir", scandir)
    scan = find_pictures(tmp_path)
    assert list(scan.pictures) == ["a.jpg"]
    assert scan.broken == []
    assert scan.folder is not None
    assert scan.folder.unread == {str(tmp_path / "closed"): "permission denied"}


def test_one_picture_is_taken_whatever_its_name(tmp_path):
    touch(tmp_path, "scan.0001")
    assert find_pictures(tmp_path / "scan.0001").pictures == {"scan.0001": tmp_path / "scan.0001"}


@pytest.mark.parametrize("name", ["missing", "empty", "only_text", "pipe"])
def test_no_pictures_at_all_is_one_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "only_text/readme.txt")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError) as caught:
        find_pictures(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


# a root of a library: links stay inside it, patterns exclude


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "root").mkdir()
    return (tmp_path / "root").resolve()


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def scan_root(root: Path, exclude: Sequence[str] = (), avoid: Sequence[Path] = (), heif: bool = False) -> FolderScan:
    return scan_folder(root, exclude, avoid, heif=heif, links_stay_inside=True)


def found(root: Path, exclude: Sequence[str] = (), avoid: Sequence[Path] = (), heif: bool = False) -> list[str]:
    return [Path(file.path).relative_to(root).as_posix() for file in scan_root(root, exclude, avoid, heif).files]


def test_pictures_are_found_by_their_endings_in_order(root):
    for name in ("b.JPG", "a/c.jpeg", "a/d.webp", "notes.txt", "e.heic", "captions.csv"):
        put(root / name)
    assert found(root, (), (), True) == ["a/c.jpeg", "a/d.webp", "b.JPG", "e.heic"]


def test_without_the_extra_a_heic_picture_is_named_with_the_command_that_helps(root):
    put(root / "e.heic")
    scan = scan_root(root)
    assert not scan.files
    assert "pip install 'crossgraph[heif]'" in scan.unusable[0][1]


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
    assert len(scan.unusable) == 3
    assert all("leads out" in reason for _, reason in scan.unusable)


def test_a_linked_folder_inside_the_root_counts_once_by_its_real_name(root):
    put(root / "z_real" / "a.jpg")
    (root / "a_link").symlink_to(root / "z_real")
    assert found(root) == ["z_real/a.jpg"]


def test_a_link_to_nothing_is_named(root):
    (root / "gone.jpg").symlink_to(root / "nothing.jpg")
    assert scan_root(root).unusable == [(str(root / "gone.jpg"), "a link to nothing")]


def test_a_name_that_is_not_utf8_is_named_and_the_rest_found(root):
    put(root / "fine.jpg")
    put(Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.jpg")))
    scan = scan_root(root)
    assert len(scan.files) == 1
    assert "not UTF-8" in scan.unusable[0][1]
    scan.unusable[0][0].encode("utf-8")  # it can be printed


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
    assert "permission denied" in scan.unusable[0][1]


def test_a_fifo_named_like_a_picture_is_not_waited_for(root):
    os.mkfifo(root / "pipe.jpg")
    assert scan_root(root).unusable == [(str(root / "pipe.jpg"), "not a regular file")]
