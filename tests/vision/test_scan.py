"""The pictures of a folder: by ending, below it, sorted; nothing in a folder can hang or loop the search."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.vision.scan import find_pictures


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
    assert scan.broken == [("closed/", "folder: permission denied")]


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
