"""A library is made equal to what lies in its roots."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from references.tiny_library import check, index, names, new_library, quiet, write_picture, write_pictures
from references.tiny_regions import TinyRegions
from references.tiny_run import write_tiny_run

from crossgraph.core.errors import InputError
from crossgraph.library import Library, maintenance
from crossgraph.library.indexer import Settings, index_pictures


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_pictures(tmp_path / "photos", 6)


@pytest.fixture
def library(tmp_path) -> Iterator[Library]:
    with new_library(tmp_path / "library") as made:
        yield made


def test_new_pictures_are_added_and_seen_again_as_they_were(library, photos):
    first = index(library, photos)
    assert (first.added, first.pictures, first.broken) == (6, 6, [])
    before = names(library)
    second = index(library, photos)
    assert (second.added, second.unchanged) == (0, 6)
    assert names(library) == before
    check(library)


def test_a_renamed_file_keeps_its_id_and_is_not_encoded_again(library, photos):
    index(library, photos)
    before = names(library)
    (photos / "000.png").rename(photos / "new name.png")
    found = index(library, photos)
    assert (found.added, found.renamed, found.removed, found.pictures) == (0, 1, 1, 6)
    assert names(library)["new name.png"] == before["000.png"]
    check(library)


def test_a_copy_is_the_same_picture_in_two_places(library, photos):
    index(library, photos)
    shutil.copy(photos / "000.png", photos / "sub.png")
    found = index(library, photos)
    assert (found.added, found.renamed, found.pictures) == (0, 1, 6)
    assert names(library)["sub.png"] == names(library)["000.png"]
    check(library)


def test_copies_that_arrive_together_are_encoded_once(library, photos):
    for number in range(4):
        shutil.copy(photos / "000.png", photos / f"copy{number}.png")
    found = index(library, photos, step=3)
    assert (found.added, found.renamed, found.pictures) == (6, 4, 6)
    assert library.shards.rows(0, 0) == 6
    check(library)


def test_a_changed_file_is_another_picture(library, photos):
    index(library, photos)
    before = names(library)
    write_picture(photos / "000.png", 100)
    found = index(library, photos)
    assert (found.added, found.updated, found.pictures) == (0, 1, 6)
    assert names(library)["000.png"] not in before.values()
    check(library)


def test_a_file_that_was_only_touched_is_as_before(library, photos):
    index(library, photos)
    os.utime(photos / "000.png", (1, 1))
    found = index(library, photos)
    assert (found.added, found.updated, found.unchanged) == (0, 0, 6)


def test_one_changed_and_one_renamed_file_are_told_apart(library, photos):
    index(library, photos)
    write_picture(photos / "000.png", 100)
    (photos / "001.png").rename(photos / "x.png")
    found = index(library, photos)
    assert (found.added, found.updated, found.renamed, found.removed) == (0, 1, 1, 1)


@pytest.mark.parametrize("step", [1, 2, 64])
def test_files_that_swap_names_keep_their_pictures(library, photos, step):
    index(library, photos)
    before = names(library)
    for a, b in (("000", "001"), ("002", "005")):
        (photos / f"{a}.png").rename(photos / "t")
        (photos / f"{b}.png").rename(photos / f"{a}.png")
        (photos / "t").rename(photos / f"{b}.png")
    found = index(library, photos, step=step)
    assert (found.added, found.updated, found.removed, found.pictures) == (0, 4, 0, 6)
    after = names(library)
    assert (after["000.png"], after["001.png"]) == (before["001.png"], before["000.png"])
    assert (after["002.png"], after["005.png"]) == (before["005.png"], before["002.png"])
    check(library)


def test_what_is_gone_goes_with_its_thumbnail(library, photos):
    index(library, photos)
    (photos / "000.png").unlink()
    assert index(library, photos).removed == 1
    assert library.count() == 5
    check(library)


def test_an_empty_library_takes_another_model(library, photos, tmp_path):
    index(library, photos)
    maintenance.remove(library, photos, quiet)
    library.adopt(write_tiny_run(tmp_path / "other", "sgr"))
    assert index(library, photos).added == 6
    check(library)


def test_a_root_that_lost_all_its_pictures_is_not_believed(library, photos):
    index(library, photos)
    for path in photos.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"holds no picture any more.*crossgraph library remove"):
        index(library, photos)
    assert library.count() == 6
    assert index(library, photos, allow_empty=True).removed == 6
    assert library.count() == 0


def test_a_root_that_is_not_there_keeps_its_pictures_and_the_others_are_indexed(library, photos, tmp_path):
    other = write_pictures(tmp_path / "other", 3, start=20)
    index(library, photos, other)
    photos.rename(tmp_path / "unplugged")
    write_picture(other / "more.png", 30)
    with pytest.raises(InputError, match="no such folder"):
        index(library, photos)
    found = index(library)
    assert (found.added, found.removed, found.pictures) == (1, 0, 10)
    (note,) = found.notes
    assert note.startswith(f"{photos}: is not there; its pictures stay in the library")
    assert f"crossgraph library remove '{photos}'" in note
    photos.mkdir()
    found = index(library)
    assert (found.removed, found.pictures) == (0, 10)
    assert "holds no picture any more" in found.notes[0]


def test_a_folder_that_cannot_be_opened_keeps_its_pictures(library, photos, monkeypatch):
    write_picture(photos / "sub" / "a.png", 50)
    index(library, photos)
    open_folder = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return open_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = index(library, photos)
    assert (found.removed, found.kept, found.pictures) == (0, 1, 7)
    assert found.notes == [
        f"{photos / 'sub'}: 1 picture below it cannot be read now (permission denied); what is known of it stays"
    ]


def test_several_roots_are_kept_apart(library, photos, tmp_path):
    other = write_pictures(tmp_path / "other", 3, start=20)
    index(library, photos)
    index(library, other)
    (photos / "000.png").unlink()
    assert index(library, other).removed == 0, "only the roots named are looked at"
    assert index(library).removed == 1, "all of them, where none is named"


def test_a_root_around_a_known_one_takes_its_files_over(library, tmp_path):
    outer = tmp_path / "all"
    write_pictures(outer / "inner", 3)
    write_picture(outer / "x.png", 40)
    index(library, outer / "inner")
    ids = names(library)
    (outer / "inner" / "000.png").unlink()
    found = index(library, outer)
    assert (found.added, found.removed, found.unchanged) == (1, 1, 2)
    assert list(library.manifest.roots().values()) == [outer.resolve()]
    assert names(library)["001.png"] == ids["001.png"]
    assert index(library, outer / "inner").unchanged == 3, "a folder inside a root stands for the root"
    check(library)


def test_the_library_may_lie_among_the_pictures(tmp_path):
    photos = write_pictures(tmp_path / "photos", 3)
    with new_library(photos / "library", model=None) as library:
        assert index(library, photos).added == 3
        assert index(library, photos).unchanged == 3


def test_excluded_folders_are_remembered_until_others_are_named(library, photos):
    write_picture(photos / "private" / "a.png", 60)
    assert index(library, photos, exclude=("private",)).pictures == 6
    assert index(library, photos).pictures == 6
    assert index(library, photos, exclude=("",)).pictures == 7
    assert index(library, photos, exclude=("private",)).removed == 1


def test_patterns_that_the_library_remembers_are_named_with_how_to_change_them(library, photos):
    write_picture(photos / "private" / "a.png", 60)
    assert index(library, photos, exclude=("private", "*.tmp")).notes == []
    (note,) = index(library, photos / "private").notes
    assert note.startswith("the library remembers --exclude private --exclude '*.tmp': ")
    assert "--exclude ''" in note
    assert index(library).notes == [], "no folder is named, so none can be missing"


def test_patterns_that_take_out_more_than_half_say_so(library, photos):
    write_pictures(photos / "private", 7, 60)
    assert index(library, photos).pictures == 13
    outcome = index(library, photos, exclude=("private",))
    assert outcome.removed == 7
    (note,) = outcome.notes
    assert note.startswith("--exclude private takes out 7 of the 13 pictures that the library had; --exclude ''")
    index(library, photos, exclude=("",))
    assert index(library, photos, exclude=("00?.png",)).notes == [], "six of thirteen are less than half"


@pytest.mark.parametrize("named", [True, False])
def test_patterns_that_would_empty_a_root_are_refused_and_not_remembered(library, photos, named):
    index(library, photos)
    with pytest.raises(InputError, match=r"--exclude '\*\.png' passes over all 6 pictures.*--exclude ''"):
        index(library, *([photos] if named else []), exclude=("*.png",))
    assert index(library, photos).unchanged == 6


def test_a_folder_taken_out_stays_out_until_it_is_asked_for(library, photos):
    write_picture(photos / "sub" / "a.png", 60)
    index(library, photos)
    assert maintenance.remove(library, photos / "sub", quiet) == 1
    assert index(library, photos).pictures == 6
    assert (photos / "sub" / "a.png").exists()
    assert index(library, photos / "sub").pictures == 7


def test_a_root_taken_out_is_forgotten_and_its_pictures_are_untouched(library, photos, tmp_path):
    other = write_pictures(tmp_path / "other", 2, start=20)
    index(library, photos, other)
    assert maintenance.remove(library, photos, quiet) == 6
    assert len(list(photos.iterdir())) == 6
    assert index(library).pictures == 2
    assert index(library, photos).pictures == 8
    check(library)


def test_a_root_that_is_gone_from_the_disk_can_be_taken_out(library, photos, tmp_path):
    index(library, photos)
    shutil.rmtree(photos)
    assert maintenance.remove(library, photos, quiet) == 6
    with pytest.raises(InputError, match="has nothing from there"):
        maintenance.remove(library, photos, quiet)


def test_the_same_picture_smaller_or_recompressed_is_grouped(library, photos):
    from PIL import Image

    write_picture(photos / "large.png", 77, (480, 320))
    with Image.open(photos / "large.png") as image:
        image.resize((240, 160)).save(photos / "small.jpg", quality=80)
        image.convert("L").save(photos / "grey.webp")
    index(library, photos)
    groups = library.manifest.alike(library.manifest.ids())
    ids = names(library)
    least = min(ids["large.png"], ids["small.jpg"], ids["grey.webp"])
    assert {groups[ids[name]] for name in ("large.png", "small.jpg", "grey.webp")} == {least}
    assert all(groups[ids[f"{number:03}.png"]] == ids[f"{number:03}.png"] for number in range(6))


def test_codes_of_an_older_library_keep_their_kind(library, photos):
    index(library, photos)
    with pytest.raises(InputError, match="keeps codes as float16"):
        index(library, photos, codes="int8")
    assert index(library, photos, codes="float16").unchanged == 6


def test_another_writer_is_refused_by_name_and_nothing_changes(library, photos):
    from crossgraph.library.lock import write_lock

    with write_lock(library.folder), pytest.raises(InputError, match=rf"another process writes.*{os.getpid()}"):
        index(library, photos)
    assert index(library, photos).added == 6


def open_files(folder: Path) -> int:
    """How many of this process's descriptors lie in a folder: what other tests hold open doesn't count."""
    links = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
    return sum(link.startswith(str(folder.resolve())) for link in links)


def test_many_runs_leave_no_open_connections(library, photos):
    index(library, photos)
    gc.collect()
    before = open_files(library.folder)
    for number in range(5):
        write_picture(photos / "000.png", 200 + number)
        index(library, photos)
    end = time.monotonic() + 10
    while open_files(library.folder) > before + 3 and time.monotonic() < end:  # a thread that ends takes its own along
        time.sleep(0.05)
        gc.collect()
    assert open_files(library.folder) < before + 5, "a run leaves one"


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_full_disk_keeps_what_was_reported_and_the_next_run_goes_on(library, photos, monkeypatch, step):
    done: list[int] = []
    sync, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > 2 * step:  # the first step also syncs the folder's names
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="no room left"):
        patch.setattr("crossgraph.library.records.os.fsync", full)
        index_pictures(
            library, [photos], Settings(step=2), lambda what, now, all: done.append(now), encoder=TinyRegions()
        )
    kept = library.count()
    assert kept >= max(done, default=0)
    assert index(library, photos).added == 6 - kept
    check(library)


@pytest.mark.parametrize("engine", ["memory", "edge"])
def test_a_kill_between_manifest_and_store_is_made_good(tmp_path, photos, engine, monkeypatch):
    with new_library(tmp_path / "library", engine) as library:
        index(library, photos)
        (photos / "000.png").rename(photos / "renamed.png")
        write_picture(photos / "fresh.png", 90)

        def killed(*arguments: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
            patch.setattr("crossgraph.library.writer.upsert", killed)
            index(library, photos)
        assert sorted(library.manifest.pending()) != []
        index(library, photos)
        assert library.manifest.pending() == []
        check(library)
