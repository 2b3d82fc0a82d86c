"""A library is checked, mended, compacted, moved to another model, and told about."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from references.tiny_library import index, new_library, write_picture, write_pictures
from references.tiny_regions import TinyRegions
from references.tiny_run import write_tiny_run

from crossgraph.core.errors import InputError
from crossgraph.library import Library, maintenance
from crossgraph.library.reencoding import reencode
from crossgraph.vision.region_encoder import REGION_ENCODERS

if "tiny-other" not in REGION_ENCODERS:

    @REGION_ENCODERS.register("tiny-other")
    def tiny_other(precision: str) -> TinyRegions:
        return TinyRegions("tiny-other", scale=2.0)


def quiet(*said: object) -> None:
    pass


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_pictures(tmp_path / "photos", 6)


@pytest.fixture
def library(tmp_path, photos) -> Iterator[Library]:
    with new_library(tmp_path / "library") as made:
        index(made, photos)
        yield made


def other_run(folder: Path, region_encoder: str = "tiny") -> Path:
    write_tiny_run(folder, "sgr", region_encoder)
    return folder


def test_a_sound_library_is_called_so(library):
    found = maintenance.verify(library, quiet)
    assert found.sound
    assert found.pictures == 6


def test_other_content_than_was_indexed_is_found_when_asked_for(library, photos):
    path = photos / "000.png"
    data, times = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    (photos / "001.png").unlink()
    (photos / "001.png").mkdir()
    assert maintenance.verify(library, quiet).changed == []
    found = maintenance.verify(library, quiet, content=True)
    assert found.changed == [str(path)]
    assert found.unread == [(str(photos / "001.png"), "is a directory")]
    assert not found.sound


def test_a_spoilt_code_is_found_and_encoded_anew_by_the_next_run(library, photos):
    before = library.codes(library.manifest.ids()).local
    with library.shards.path(0, 0).open("r+b") as file:
        file.seek(library.layout.dtype.itemsize + 50)
        file.write(b"\xff\xff")
    assert maintenance.verify(library, quiet).codes == 1
    assert library.count() == 5
    found = index(library, photos)
    assert (found.added, found.pictures) == (1, 6)
    assert maintenance.verify(library, quiet).sound
    assert len(library.codes(library.manifest.ids()).local) == len(before)


def test_lost_codes_are_found(library, photos):
    library.shards.path(0, 0).unlink()
    assert maintenance.verify(library, quiet).codes == 6
    assert index(library, photos).added == 6
    assert maintenance.verify(library, quiet).sound


@pytest.mark.parametrize("harm", ["unlink", "cut", "empty"])
def test_a_spoilt_thumbnail_is_made_again(library, harm):
    path = library.thumbnail(library.get(1).sha256)
    whole = path.read_bytes()
    path.unlink() if harm == "unlink" else path.write_bytes(whole[: len(whole) // 2 if harm == "cut" else 0])
    assert maintenance.verify(library, quiet).thumbnails == 1
    assert path.read_bytes() == whole


def test_remains_among_the_thumbnails_are_swept(library):
    folder = library.thumbnail(library.get(1).sha256).parent
    (folder / ".abc.tmp").write_bytes(b"half")
    (folder / ("0" * 64 + ".webp")).write_bytes(b"of a picture that is gone")
    maintenance.verify(library, quiet)
    assert [path.name for path in folder.iterdir()] == [f"{library.get(1).sha256}.webp"]


def test_a_store_that_differs_is_mended(library):
    library.store.delete([1, 2])
    (points,) = library.points([3])
    from dataclasses import replace

    library.store.upsert([replace(points[0], id=77)])
    found = maintenance.verify(library, quiet)
    assert found.store == (2, 1)
    assert list(library.store.ids()) == [1, 2, 3, 4, 5, 6]


def test_a_file_that_is_gone_is_named(library, photos):
    (photos / "000.png").unlink()
    assert maintenance.verify(library, quiet).missing == [str(photos / "000.png")]


@pytest.mark.parametrize("engine", ["memory", "edge"])
def test_the_store_is_made_anew_from_manifest_and_codes(tmp_path, photos, engine):
    with new_library(tmp_path / "another", engine) as library:
        index(library, photos)
        (points,) = library.points([2])
        before = library.store.search(points[0].vector, 6)
        library.close_store()
        shutil.rmtree(library.folder / "store")
        (library.folder / "store").mkdir()
        (library.folder / "store" / "store.json").write_text("spoilt")
        assert maintenance.rebuild(library, quiet) == 6
        again = library.store.search(points[0].vector, 6)
        assert [one.id for one in again] == [one.id for one in before]


def test_compaction_gives_back_what_was_removed_and_keeps_the_rest(library, photos):
    for number in (0, 3, 4):
        (photos / f"{number:03}.png").unlink()
    index(library, photos)
    ids = library.manifest.ids()
    codes = library.records(ids)
    before, after = maintenance.compact(library, quiet)
    assert (before, after) == (6 * library.layout.dtype.itemsize, 3 * library.layout.dtype.itemsize)
    assert np.array_equal(library.records(ids), codes)
    assert maintenance.verify(library, quiet).sound
    write_picture(photos / "more.png", 70)
    index(library, photos)
    assert np.array_equal(library.records(ids), codes)


def test_a_reader_goes_on_while_another_process_compacts(library, photos):
    with Library(library.folder) as reader:
        codes = reader.records([1, 2, 3])
        reader.shards._maps.clear()
        places = reader.manifest.positions([1, 2, 3])
        maintenance.compact(library, quiet)
        asked = iter([places])
        reader.manifest.places = lambda ids: next(asked, library.manifest.positions(ids))  # type: ignore[method-assign]
        assert np.array_equal(reader.records([1, 2, 3]), codes)


def test_a_compaction_that_was_killed_leaves_the_library_as_it_was(library, monkeypatch):
    codes = library.records([1, 2, 3])
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(maintenance, "set_positions", lambda *a: (_ for _ in ()).throw(RuntimeError("killed")))
        maintenance.compact(library, quiet)
    assert np.array_equal(library.records([1, 2, 3]), codes)
    maintenance.compact(library, quiet)
    assert maintenance.verify(library, quiet).sound
    assert len(list((library.folder / "codes").iterdir())) == 1


def fresh_codes(tmp_path: Path, photos: Path, model: Path) -> np.ndarray:
    with new_library(tmp_path / "fresh", model=model) as library:
        index(library, photos)
        return library.records([library.manifest.by_content(digest)[0] for digest in digests(library)])  # type: ignore[index]


def digests(library: Library) -> list[str]:
    return sorted(picture.sha256 for picture in library.manifest.get(library.manifest.ids()).values())


def by_content(library: Library) -> np.ndarray:
    return library.records([library.manifest.by_content(digest)[0] for digest in digests(library)])  # type: ignore[index]


def test_another_model_reads_the_pictures_again(tmp_path, library, photos):
    old = by_content(library)
    assert reencode(library, other_run(tmp_path / "sgr"), quiet) == 6
    assert library.model_name == "sgr"
    assert by_content(library).tobytes() != old.tobytes()
    assert maintenance.verify(library, quiet).sound
    (points,) = library.points([2])
    assert library.store.search(points[0].vector, 1)[0].id == 2
    assert [path.name for path in library.folder.glob("model*")] == [library.model_folder.name]


def test_kept_features_spare_reading_the_pictures(tmp_path, photos):
    with new_library(tmp_path / "library", model=write_tiny_run(tmp_path / "saf")) as library:
        index(library, photos, keep_features=True, batch_size=1)
        shutil.rmtree(photos)
        reencode(library, other_run(tmp_path / "sgr"), quiet)
        found = library.codes(library.manifest.ids())
    photos = write_pictures(tmp_path / "photos", 6)
    with new_library(tmp_path / "fresh", model=tmp_path / "sgr") as library:
        index(library, photos, batch_size=1)
        assert torch.allclose(found.local, library.codes(library.manifest.ids()).local, atol=2e-3)


def test_without_kept_features_a_picture_that_is_gone_stops_it_and_nothing_changes(tmp_path, library, photos):
    before = by_content(library)
    (photos / "000.png").unlink()
    with pytest.raises(InputError, match=r"000.png: can no longer be read"):
        reencode(library, other_run(tmp_path / "sgr"), quiet)
    assert by_content(library).tobytes() == before.tobytes()
    assert library.model_name == "model"


def test_features_of_another_region_encoder_are_read_and_kept_anew(tmp_path, photos):
    with new_library(tmp_path / "library") as library:
        index(library, photos, keep_features=True)
        reencode(library, other_run(tmp_path / "a", "tiny-other"), quiet)
        before = by_content(library)
        assert len(list((library.folder / "features").iterdir())) == 1
        shutil.rmtree(photos)
        reencode(library, write_tiny_run(tmp_path / "b", "saf", "tiny-other"), quiet)
        reencode(library, tmp_path / "a", quiet)
        assert np.allclose(by_content(library)["local"], before["local"], atol=2e-3)


def test_compaction_keeps_features_too(tmp_path, photos):
    with new_library(tmp_path / "library") as library:
        index(library, photos, keep_features=True)
        (photos / "000.png").unlink()
        index(library, photos)
        before, after = maintenance.compact(library, quiet)
        assert after < before
        shutil.rmtree(photos)
        assert reencode(library, other_run(tmp_path / "sgr"), quiet) == 5


@pytest.mark.parametrize("engine", ["memory", "edge"])
def test_a_change_of_models_killed_before_the_store_is_filled_is_finished_by_the_next_run(
    tmp_path, photos, engine, monkeypatch
):
    def killed(*said: object) -> None:
        raise RuntimeError("killed")

    with new_library(tmp_path / "library", engine) as library:
        index(library, photos)
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
            patch.setattr("crossgraph.library.reencoding.sync_store", killed)
            reencode(library, other_run(tmp_path / "sgr"), quiet)
        library.close_store()
        with pytest.raises(InputError, match="crossgraph library rebuild"):
            _ = library.store
        assert index(library, photos).unchanged == 6
        (points,) = library.points([2])
        assert library.store.search(points[0].vector, 1)[0].score == pytest.approx(1, abs=1e-3)


def test_an_empty_library_takes_another_model(tmp_path):
    with new_library(tmp_path / "library") as library:
        assert reencode(library, other_run(tmp_path / "sgr"), quiet) == 0
        assert library.model_name == "sgr"
        assert index(library, write_pictures(tmp_path / "photos", 2)).added == 2


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_is_known_is_exported(tmp_path, library, photos, kind):
    shutil.copy(photos / "000.png", photos / "copy.png")
    (photos / "captions.csv").write_text("image,caption\n001.png,ein Hündchen\n")
    index(library, photos)
    out = tmp_path / f"out.{kind}"
    assert maintenance.export(library, out, quiet) == 6
    if kind == "csv":
        rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"), newline="")))
        paths = [row["paths"] for row in rows]
        captions = [row["captions"] for row in rows]
    else:
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        paths, captions = ["; ".join(row["paths"]) for row in lines], ["; ".join(row["captions"]) for row in lines]
    assert len(paths) == 6
    assert f"{photos / '000.png'}; {photos / 'copy.png'}" in paths
    assert "ein Hündchen" in captions


# what is no library


def test_a_folder_with_other_files_is_not_taken(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"holds other files \(letter.txt\)"):
        Library(tmp_path, create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_in_which_a_killed_write_began_is_taken(tmp_path):
    (tmp_path / ".bundle.json.k1ll3d_1.tmp").write_text("{")
    Library(tmp_path, create=True).close()
    with pytest.raises(InputError, match=r"holds other files \(notes.tmp\)"):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.tmp").write_text("dear")
        Library(tmp_path / "other", create=True)


def test_a_missing_library_is_named(tmp_path):
    with pytest.raises(InputError, match="is no picture library"):
        Library(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_missing_model_says_so(library):
    shutil.rmtree(library.folder / "model")
    library.unload_model()
    with pytest.raises(InputError, match="no such folder"):
        _ = library.bundle


def test_a_changed_model_offers_to_encode_anew(tmp_path, library):
    shutil.rmtree(library.folder / "model")
    other_run(library.folder / "model")
    library.unload_model()
    with pytest.raises(InputError, match=r"is not the model.*--reencode --model"):
        _ = library.bundle


def test_two_libraries_on_one_server_do_not_share_a_collection(tmp_path, monkeypatch):
    asked: list[Path | None] = []
    monkeypatch.setattr(
        "crossgraph.library.library.open_store", lambda kind, folder, size: asked.append(folder) or FakeStore()
    )
    for name in ("a", "b"):
        with new_library(tmp_path / name, "http://host:6333") as library:
            library.manifest.remember({"layout": '{"index": 8, "local": [4, 8], "parts": [], "kind": "float16"}'})
            _ = library.store
    assert len(set(asked)) == 2
    assert None not in asked


class FakeStore:
    def close(self) -> None:
        pass
