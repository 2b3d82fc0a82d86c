"""What cannot be seen or read now is neither found nor gone: a library keeps it, with its id."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from references.tiny_library import index, names, new_library, write_picture, write_pictures

from crossgraph.core.errors import InputError
from crossgraph.library import Library, maintenance


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


class Refusing:
    """An entry of a folder, or a listing, whose file system answers some questions with an error."""

    def __init__(self, entry: os.DirEntry[str], number: int, questions: str) -> None:
        self.entry, self.number, self.questions = entry, number, questions
        self.name, self.path = entry.name, entry.path

    def __getattr__(self, question: str) -> Callable[..., object]:
        if question in self.questions.split():
            raise OSError(self.number, os.strerror(self.number), self.path)
        return getattr(self.entry, question)


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int, questions: str) -> None:
    """Let a folder's entries be listed, and some questions about them fail, as on a share that went away."""
    scandir = os.scandir

    class Listing(list[Refusing]):
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *raised: object) -> None:
            pass

    def listed(path: str) -> object:
        if Path(path) != folder:
            return scandir(path)
        with scandir(path) as entries:
            return Listing(Refusing(entry, number, questions) for entry in entries)

    monkeypatch.setattr(os, "scandir", listed)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN])
@pytest.mark.parametrize("questions", ["stat", "is_dir", "is_symlink stat is_dir"])
def test_files_that_are_listed_and_cannot_be_asked_stay_with_their_ids(library, photos, monkeypatch, number, questions):
    before = names(library)
    with monkeypatch.context() as patch:
        refuse(patch, photos / "sub", number, questions)
        outcome = index(library, photos)
    assert (outcome.removed, outcome.kept, outcome.broken) == (0, 3, [])
    (note,) = outcome.notes
    reason = os.strerror(number).lower()
    assert note == f"{photos / 'sub'}: 3 pictures below it cannot be read now ({reason}); what is known of them stays"
    assert names(library) == before
    again = index(library, photos)
    assert (again.added, again.unchanged, again.kept, again.notes) == (0, 4, 0, [])
    assert names(library) == before


def test_a_file_that_went_away_between_listing_and_asking_is_gone(library, photos, monkeypatch):
    refuse(monkeypatch, photos / "sub", errno.ENOENT, "stat")
    outcome = index(library, photos, allow_empty=True)
    assert (outcome.removed, outcome.kept) == (3, 0)


def test_of_a_listing_that_breaks_off_the_rest_stays(library, photos, monkeypatch):
    before = names(library)
    scandir = os.scandir

    class Broken:
        def __init__(self, path: str) -> None:
            self.entries = iter(sorted(scandir(path), key=lambda entry: entry.name)[:1])

        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *raised: object) -> None:
            pass

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            yield from self.entries
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", lambda path: Broken(path) if Path(path).name == "sub" else scandir(path))
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept, outcome.unchanged) == (0, 2, 2)
    assert "sub: 2 pictures below it cannot be read now (input/output error)" in outcome.notes[0]
    assert names(library) == before


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE])
def test_a_folder_that_cannot_be_asked_keeps_what_lies_at_any_depth(library, photos, monkeypatch, number):
    write_picture(photos / "sub" / "deep" / "d.png", 20)
    index(library, photos)
    stat = Path.stat

    def failing(path: Path, **options: bool) -> os.stat_result:
        if path.name == "sub":
            raise OSError(number, os.strerror(number))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", failing)
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept) == (0, 4)
    assert len(outcome.notes) == 1


def test_hundreds_of_folders_that_cannot_be_asked_are_one_line(library, photos, monkeypatch):
    for number in range(8):
        write_picture(photos / f"year{number}" / "deep" / f"y{number}.png", 30 + number)
    index(library, photos)
    scandir = os.scandir

    def refuse_deep(path: str) -> object:
        if Path(path).name == "deep":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_deep)
    outcome = index(library, photos)
    assert outcome.kept == 8
    assert outcome.notes == [
        f"{photos}: 8 pictures below it cannot be read now (input/output error); what is known of them stays"
    ]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_a_known_file_whose_bytes_cannot_be_read_now_stays_as_it_was(library, photos, monkeypatch, number):
    before = names(library)
    os.utime(photos / "x.png", (1, 1))
    write_picture(photos / "new.png", 60)
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.parent == photos:
            raise OSError(number, os.strerror(number))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        outcome = index(library, photos)
    assert (outcome.removed, outcome.kept, outcome.broken, library.manifest.count("broken")) == (0, 1, [], 0)
    assert f"2 pictures below it cannot be read now ({os.strerror(number).lower()})" in outcome.notes[0]
    assert names(library) == before
    assert index(library, photos).added == 1, "what could not be read is tried again"
    assert names(library)["x.png"] == before["x.png"]


def test_a_link_whose_target_cannot_be_asked_stays(library, photos, monkeypatch):
    (photos / "link.png").symlink_to(photos / "sub" / "000.png")
    index(library, photos)
    before = library.get(names(library)["000.png"]).paths
    assert len(before) == 2
    real = os.path.realpath

    def failing(path: str, *, strict: bool = False) -> str:
        if strict:
            raise OSError(errno.EHOSTDOWN, os.strerror(errno.EHOSTDOWN))
        return real(path)

    monkeypatch.setattr(os.path, "realpath", failing)
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept) == (0, 1)
    assert library.get(names(library)["000.png"]).paths == before


# a folder that suddenly holds nothing


def unmount(folder: Path, away: Path) -> None:
    """Leave an empty folder where another disk was."""
    shutil.move(folder, away)
    folder.mkdir()


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_that_suddenly_holds_nothing_keeps_its_pictures_until_it_is_mounted_again(
    library, photos, tmp_path, named
):
    before = names(library)
    unmount(photos / "sub", tmp_path / "away")
    for _ in range(2):
        outcome = index(library, *([photos] if named else []))
        assert (outcome.removed, outcome.kept, outcome.unchanged) == (0, 3, 1)
        (note,) = outcome.notes
        assert note.startswith(f"{photos / 'sub'}: holds no picture any more; the 3 pictures known from it stay")
        assert f"crossgraph library remove '{photos / 'sub'}'" in note
        assert names(library) == before
    (photos / "sub").rmdir()
    shutil.move(tmp_path / "away", photos / "sub")
    outcome = index(library, photos)
    assert (outcome.added, outcome.renamed, outcome.unchanged, outcome.notes) == (0, 0, 4, [])
    assert names(library) == before


def test_a_folder_of_one_picture_is_kept_where_it_is_another_folder_now(library, photos, tmp_path):
    write_picture(photos / "one" / "a.png", 20)
    index(library, photos)
    unmount(photos / "one", tmp_path / "away")
    assert index(library, photos).kept == 1


def test_the_last_picture_of_the_same_folder_may_go(library, photos):
    write_picture(photos / "one" / "a.png", 20)
    index(library, photos)
    (photos / "one" / "a.png").unlink()
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept, outcome.notes) == (1, 0, [])


def test_a_folder_that_was_deleted_is_gone(library, photos):
    shutil.rmtree(photos / "sub")
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept, outcome.notes) == (3, 0, [])


def test_pictures_moved_out_of_a_folder_leave_nothing_behind(library, photos):
    before = names(library)
    (photos / "sorted").mkdir()
    for path in (photos / "sub").iterdir():
        path.rename(photos / "sorted" / path.name)
    outcome = index(library, photos)
    assert (outcome.renamed, outcome.removed, outcome.kept, outcome.notes) == (3, 3, 0, [])
    assert names(library) == before


def test_a_folder_that_holds_nothing_is_taken_out_and_new_pictures_in_it_are_found(library, photos, tmp_path):
    unmount(photos / "sub", tmp_path / "away")
    assert index(library, photos).kept == 3
    assert maintenance.remove(library, photos / "sub", quiet) == 3
    assert index(library, photos).notes == []
    write_picture(photos / "sub" / "new.png", 70)
    assert index(library, photos).added == 1


def test_a_folder_that_is_excluded_is_not_taken_for_an_empty_one(library, photos):
    write_picture(photos / "year" / "raw" / "a.png", 20)
    index(library, photos)
    assert index(library, photos, exclude=("raw", "sub")).removed == 4


def change_device(monkeypatch: pytest.MonkeyPatch, folder: Path, device: int) -> None:
    """Let a folder, and what lies below it, be on another device."""
    stat = Path.stat

    def on_device(path: Path, **options: bool) -> os.stat_result:
        found = stat(path, **options)
        if path != folder and not path.is_relative_to(folder):
            return found
        return os.stat_result([*found[:2], device, *found[3:10]])

    monkeypatch.setattr(Path, "stat", on_device)


def test_another_disk_in_place_of_the_known_one_keeps_the_known_pictures(library, photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        change_device(patch, photos / "sub", 77)
        index(library, photos)
    before = names(library)
    unmount(photos / "sub", tmp_path / "away")
    write_picture(photos / "sub" / "other.png", 80)
    with monkeypatch.context() as patch:
        change_device(patch, photos / "sub", 78)
        outcome = index(library, photos)
    assert (outcome.added, outcome.removed, outcome.kept) == (1, 0, 3)
    assert "sub: is another disk than before; the 3 pictures known from it stay" in outcome.notes[0]
    assert names(library) == before | {"other.png": names(library)["other.png"]}


def test_a_disk_whose_folder_went_away_with_it_keeps_its_pictures(library, photos, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        change_device(patch, photos / "sub", 77)
        index(library, photos)
    shutil.move(photos / "sub", tmp_path / "away")
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept) == (0, 3)
    assert "sub: was another disk and is not there now" in outcome.notes[0]


def test_a_disk_that_was_a_root_stays_when_the_folder_around_it_becomes_one(tmp_path, monkeypatch):
    outer = tmp_path.resolve() / "outer"
    write_pictures(outer / "disk", 2)
    write_picture(outer / "x.png", 10)
    with new_library(tmp_path / "library") as library:
        with monkeypatch.context() as patch:
            change_device(patch, outer / "disk", 77)
            index(library, outer / "disk")
        shutil.move(outer / "disk", tmp_path / "away")
        outcome = index(library, outer)
        assert (outcome.added, outcome.removed, outcome.kept) == (1, 0, 2)


def test_new_device_numbers_after_a_restart_change_nothing(library, photos, monkeypatch):
    change_device(monkeypatch, photos, 99)
    (photos / "sub" / "000.png").unlink()
    outcome = index(library, photos)
    assert (outcome.removed, outcome.kept, outcome.unchanged, outcome.notes) == (1, 0, 3, [])


def test_captions_stay_while_the_root_holds_nothing(library, photos, tmp_path):
    (photos / "captions.csv").write_text("image,caption\nx.png,a red car\n")
    other = write_pictures(tmp_path / "other", 1, start=40)
    index(library, photos, other)
    number = names(library)["x.png"]
    assert library.get(number).captions == ("a red car",)
    unmount(photos, tmp_path / "away")
    assert index(library).kept == 4
    assert library.get(number).captions == ("a red car",)


# roots


def test_each_run_names_a_root_that_is_gone_and_how_to_take_it_out(library, photos, tmp_path):
    moved = photos.rename(tmp_path / "moved")
    outcome = index(library, moved)
    assert (outcome.added, outcome.renamed) == (0, 4)
    (note,) = outcome.notes
    assert note.startswith(f"{photos}: is not there")
    assert f"crossgraph library remove '{photos}'" in note
    maintenance.remove(library, photos, quiet)
    assert index(library).notes == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.ENOTCONN])
def test_a_root_that_cannot_be_asked_keeps_its_pictures_and_the_others_are_indexed(
    library, photos, tmp_path, monkeypatch, number
):
    other = write_pictures(tmp_path / "other", 2, start=40)
    index(library, other)
    stat = Path.stat

    def failing(path: Path, **options: bool) -> os.stat_result:
        if path == photos:
            raise OSError(number, os.strerror(number))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", failing)
    outcome = index(library)
    assert (outcome.removed, outcome.unchanged, outcome.pictures) == (0, 2, 6)
    assert outcome.notes == [
        f"{photos}: cannot be read now ({os.strerror(number).lower()}); its pictures stay in the library"
    ]
    with pytest.raises(InputError, match=os.strerror(number).lower()):
        index(library, photos)


# folders of systems and devices
