"""Folders that systems and storage devices make for themselves are passed over, unless they are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from references.tiny_library import index, new_library, write_picture, write_pictures

from crossgraph.library import Library, maintenance

NAS = ("@eaDir/a.jpg", "#recycle", "$RECYCLE.BIN", "lost+found", "__MACOSX", "@Recycle", "System Volume Information")


@pytest.fixture
def photos(tmp_path) -> Path:
    write_pictures(tmp_path / "photos" / "sub", 3)
    write_picture(tmp_path / "photos" / "x.png", 10)
    return (tmp_path / "photos").resolve()


@pytest.fixture
def library(tmp_path, photos) -> Iterator[Library]:
    with new_library(tmp_path / "library") as made:
        index(made, photos)
        yield made


def quiet(*said: object) -> None:
    pass


def test_folders_of_systems_and_devices_are_passed_over_with_a_line(library, photos):
    for position, name in enumerate(NAS):
        write_picture(photos / name / "t.png", 50 + position)
    write_picture(photos / ".hidden" / "h.png", 90)
    outcome = index(library, photos)
    assert (outcome.added, outcome.pictures) == (0, 4)
    (note,) = outcome.notes
    for part in ("1 @eaDir", "1 #recycle", "1 hidden", "name one to use it"):
        assert part in note


@pytest.mark.parametrize("name", ["#recycle", ".hidden", ".hidden/album", "@eaDir/x.jpg"])
def test_such_a_folder_is_taken_where_it_is_named(library, photos, name):
    write_picture(photos / name / "t.png", 50)
    assert index(library, photos).added == 0
    assert index(library, photos / name).added == 1
    assert index(library).unchanged == 5, "and it stays"
    assert list(library.manifest.roots().values()) == [photos]
    (photos / name / "t.png").unlink()
    assert index(library).removed == 1


def test_such_a_folder_stays_out_after_its_root_was_taken_out(library, photos):
    write_picture(photos / "#recycle" / "t.png", 50)
    assert index(library, photos / "#recycle").added == 1
    maintenance.remove(library, photos, quiet)
    assert index(library, photos).pictures == 4


def test_such_a_root_stays_when_the_folder_around_it_becomes_one(library, photos, tmp_path):
    outer = tmp_path / "outer"
    write_picture(outer / "#recycle" / "t.png", 50)
    write_picture(outer / "u.png", 51)
    index(library, outer / "#recycle")
    outcome = index(library, outer)
    assert (outcome.added, outcome.unchanged, outcome.removed) == (1, 1, 0)


def test_pictures_that_an_older_library_has_from_such_folders_leave_with_the_reason(library, photos, monkeypatch):
    write_pictures(photos / "@eaDir", 2, start=50)
    with monkeypatch.context() as patch:
        patch.setattr("crossgraph.vision.scan.SYSTEM_FOLDERS", frozenset())
        assert index(library, photos).added == 2
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept, outcome.pictures) == (2, 0, 4)
    assert outcome.notes[0] == (
        f"{photos}: 2 pictures leave the library: folders like @eaDir are passed over unless they are named"
    )
