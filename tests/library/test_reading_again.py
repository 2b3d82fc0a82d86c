"""Which files an indexing run reads again: broken ones, changed ones, and none that are as before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from references.tiny_library import check, index, names, new_library, write_picture, write_pictures
from references.tiny_regions import TinyRegions

from crossgraph.library import Library, reading
from crossgraph.library.indexer import index_pictures
from crossgraph.vision.pictures import BrokenPicture


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_pictures(tmp_path / "photos", 6)


@pytest.fixture
def library(tmp_path) -> Iterator[Library]:
    with new_library(tmp_path / "library") as made:
        yield made


def test_a_broken_picture_is_named_and_the_rest_indexed(library, photos):
    (photos / "bad.jpg").write_text("not a picture")
    (photos / "empty.jpg").write_bytes(b"")
    found = index(library, photos)
    assert dict(found.broken) == {
        str(photos / "bad.jpg"): "not a picture (JPEG, PNG, WebP, GIF, TIFF or BMP)",
        str(photos / "empty.jpg"): "empty file",
    }
    assert found.pictures == 6
    assert library.manifest.count("broken") == 2
    again = index(library, photos)
    assert (again.unchanged, again.broken) == (6, found.broken), "broken pictures are named at each run"
    check(library)


def test_a_broken_picture_is_tried_again_when_the_decoders_change(library, photos, monkeypatch):
    """The same bytes, which an earlier program or its decoders could not read."""
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_photo", refuse)
        assert len(index(library, photos).broken) == 6
    assert len(index(library, photos).broken) == 6, "nothing has changed that could help"
    monkeypatch.setattr("PIL.__version__", "99.0")
    found = index(library, photos)
    assert (found.pictures, found.broken) == (6, [])
    check(library)


def test_a_broken_picture_is_tried_again_on_request(library, photos, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_photo", refuse)
        index(library, photos)
    assert index(library, photos, retry_broken=True).pictures == 6


def refuse(*given: object) -> None:
    raise BrokenPicture("a form that this version does not know")


def test_other_content_of_the_same_size_and_time_is_noticed_by_the_ctime(library, photos):
    """A copy that keeps times, as `cp -p` and restored backups do."""
    path = photos / "000.bmp"
    write_picture(path, 60)
    index(library, photos)
    before, old = path.stat(), names(library)["000.bmp"]
    write_picture(path, 61)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert index(library, photos).updated == 1
    assert names(library)["000.bmp"] != old
    check(library)


def test_a_changed_ctime_alone_costs_one_reading_and_no_encoding(library, photos):
    index(library, photos)
    (photos / "000.png").chmod(0o600)
    encoder = TinyRegions()
    encoder.encode = lambda pixels: pytest.fail("encoded again")  # type: ignore[method-assign]
    assert index_pictures(library, [photos], encoder=encoder).unchanged == 6


def test_files_of_an_older_library_are_not_read_for_want_of_a_ctime(library, photos, monkeypatch):
    index(library, photos)
    library.manifest.connection.execute("UPDATE files SET changed = NULL")
    monkeypatch.setattr("crossgraph.library.indexer.read_file", lambda *given: pytest.fail("read again"))
    assert index(library, photos).unchanged == 6
    nulls = library.manifest.connection.execute("SELECT count(*) FROM files WHERE changed IS NULL").fetchone()[0]
    assert nulls == 0, "it is remembered now"


def test_a_broken_picture_that_is_mended_is_added(library, photos):
    (photos / "bad.jpg").write_text("not a picture")
    index(library, photos)
    write_picture(photos / "bad.jpg", 50)
    found = index(library, photos)
    assert (found.updated, found.pictures, found.broken) == (1, 7, [])
    check(library)


def test_a_picture_that_breaks_leaves_the_search(library, photos):
    index(library, photos)
    (photos / "000.png").write_text("overwritten")
    assert index(library, photos).pictures == 5
    check(library)


def test_a_picture_left_out_for_its_size_is_tried_again_with_another_limit(library, photos):
    assert len(index(library, photos, max_megapixels=0.0001).broken) == 6
    assert len(index(library, photos, max_megapixels=0.0001).broken) == 6
    assert index(library, photos).pictures == 6
    check(library)
