"""The feature folder mirrors the picture folder: what is new is encoded, what is gone is dropped."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from references.tiny_regions import TinyRegions

from crossgraph.core.errors import InputError
from crossgraph.data.extraction import Settings, extract_features
from crossgraph.data.manifest import read_manifest
from crossgraph.data.shards import ShardFeatures
from crossgraph.files import sha256


def paint(path: Path, seed: int, size: tuple[int, int] = (12, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path) -> Path:
    for seed in range(10):
        paint(tmp_path / "photos" / f"{seed % 2}" / f"{seed}.png", seed)
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, np.ndarray]:
    manifest = read_manifest(folder / "manifest.json")
    source = ShardFeatures(folder, manifest)
    return dict(zip(source.ids, source.read(range(len(source.ids))).features.numpy(), strict=True))


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir()}


def test_the_manifest_says_what_lies_where_and_what_it_was_made_from(photos, tmp_path):
    outcome = extract_features(photos, tmp_path / "out", TinyRegions())
    assert (outcome.pictures, outcome.extracted, outcome.dropped, outcome.broken) == (10, 10, 0, [])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["format_version"] == 1
    assert manifest["encoder"] == {
        "name": "tiny", "sha256": "5" * 64, "feature_size": 6, "regions": 4, "grid": [2, 2]
    }  # fmt: skip
    ids = [entry["id"] for entry in manifest["pictures"]]
    assert ids == sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    for entry in manifest["pictures"]:
        assert entry["sha256"] == sha256(photos / entry["id"])
        assert (entry["width"], entry["height"]) == (12, 9)
        shard = manifest["shards"][entry["shard"]]
        features = np.load(tmp_path / "out" / shard["file"])
        assert features.dtype == np.float16
        assert features.shape == (10, 4, 6)
        boxes = np.load(tmp_path / "out" / shard["boxes"])[entry["row"]]
        assert boxes.dtype == np.float32
        assert boxes.tolist() == [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]


def test_each_picture_gets_its_own_features(photos, tmp_path):
    paint(photos / "red.png", 0)
    Image.new("RGB", (9, 9), (200, 0, 0)).save(photos / "red.png")
    extract_features(photos, tmp_path / "out", TinyRegions(), Settings(batch_size=3, workers=4))
    assert np.allclose(contents(tmp_path / "out")["red.png"][:, :3], (200, 0, 0))


def test_a_second_run_encodes_nothing_and_changes_nothing(photos, tmp_path):
    extract_features(photos, tmp_path / "out", TinyRegions())
    before, encoder = files_of(tmp_path / "out"), TinyRegions()
    outcome = extract_features(photos, tmp_path / "out", encoder)
    assert (outcome.pictures, outcome.extracted) == (10, 0)
    assert encoder.batches == []
    assert files_of(tmp_path / "out") == before


def test_added_changed_and_removed_pictures_are_followed(photos, tmp_path):
    extract_features(photos, tmp_path / "out", TinyRegions())
    old = contents(tmp_path / "out")
    (photos / "0" / "4.png").unlink()
    paint(photos / "1" / "3.png", 99)
    paint(photos / "2" / "new.png", 100)
    encoder = TinyRegions()
    outcome = extract_features(photos, tmp_path / "out", encoder, Settings(batch_size=1))
    assert (outcome.pictures, outcome.extracted, outcome.dropped) == (10, 2, 1)
    assert len(encoder.batches) == 2
    new = contents(tmp_path / "out")
    assert list(new) == sorted(new)
    assert set(new) == set(old) - {"0/4.png"} | {"2/new.png"}
    assert not np.array_equal(new["1/3.png"], old["1/3.png"])
    assert all(np.array_equal(new[name], old[name]) for name in set(old) & set(new) - {"1/3.png"})


def test_broken_pictures_are_listed_and_tried_again_next_time(photos, tmp_path):
    (photos / "0" / "bad.jpg").write_text("no")
    (photos / "z.gif").touch()
    outcome = extract_features(photos, tmp_path / "out", TinyRegions(), Settings(batch_size=3))
    assert outcome.pictures == 10
    assert [name for name, _ in outcome.broken] == ["0/bad.jpg", "z.gif"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["broken"][1] == {"id": "z.gif", "reason": "empty file"}
    paint(photos / "0" / "bad.jpg", 5)
    outcome = extract_features(photos, tmp_path / "out", TinyRegions())
    assert (outcome.pictures, outcome.extracted, len(outcome.broken)) == (11, 1, 1)


def test_a_picture_that_breaks_later_leaves_the_manifest(photos, tmp_path):
    extract_features(photos, tmp_path / "out", TinyRegions())
    (photos / "0" / "0.png").write_bytes((photos / "0" / "0.png").read_bytes()[:60])
    outcome = extract_features(photos, tmp_path / "out", TinyRegions())
    assert (outcome.pictures, [name for name, _ in outcome.broken]) == (9, ["0/0.png"])
    assert "0/0.png" not in contents(tmp_path / "out")


def test_features_beyond_float16_make_a_picture_broken_not_infinite(photos, tmp_path):
    Image.new("RGB", (9, 9), (0, 0, 0)).save(photos / "black.png")
    outcome = extract_features(photos, tmp_path / "out", TinyRegions(scale=3000), Settings(batch_size=4))
    assert outcome.pictures == 1
    assert len(outcome.broken) == 10
    assert "float16" in outcome.broken[0][1]
    assert list(contents(tmp_path / "out")) == ["black.png"]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7])
def test_batches_never_straddle_a_shard(photos, tmp_path, batch_size):
    """So that a run that goes on at a whole shard forms the batches that an undisturbed run forms."""
    (photos / "0" / "5_bad.png").touch()
    encoder = TinyRegions()
    extract_features(photos, tmp_path / "out", encoder, Settings(batch_size=batch_size, shard_rows=4))
    expected = {1: [1] * 10, 3: [3, 1, 3, 1, 2], 4: [4, 4, 2], 7: [4, 4, 2]}
    assert encoder.batches == expected[batch_size]


def test_progress_counts_every_picture_once(photos, tmp_path):
    (photos / "bad.png").touch()
    told: list[tuple[str, int, int]] = []
    extract_features(photos, tmp_path / "out", TinyRegions(), report=lambda *said: told.append(said))
    assert told == [("extracting", done, 11) for done in range(1, 12)]
    told.clear()
    extract_features(photos, tmp_path / "out", TinyRegions(), report=lambda *said: told.append(said))
    assert [said for said in told if said[0] == "checking"] == [("checking", done, 10) for done in range(1, 11)]


def test_another_encoder_is_refused_and_nothing_is_touched(photos, tmp_path):
    extract_features(photos, tmp_path / "out", TinyRegions())
    before = files_of(tmp_path / "out")
    with pytest.raises(InputError, match="choose another --out"):
        extract_features(photos, tmp_path / "out", TinyRegions(name="other"))
    assert files_of(tmp_path / "out") == before


def test_features_of_another_folder_s_pictures_are_not_thrown_away(photos, tmp_path):
    extract_features(photos, tmp_path / "out", TinyRegions())
    before = files_of(tmp_path / "out")
    paint(tmp_path / "others" / "x.png", 3)
    with pytest.raises(InputError, match="10 other pictures"):
        extract_features(tmp_path / "others", tmp_path / "out", TinyRegions())
    with pytest.raises(InputError, match="other pictures"):
        extract_features(photos / "0" / "0.png", tmp_path / "out", TinyRegions())
    assert files_of(tmp_path / "out") == before


def test_one_picture_alone_can_be_extracted(photos, tmp_path):
    extract_features(photos / "0" / "0.png", tmp_path / "out", TinyRegions())
    assert list(contents(tmp_path / "out")) == ["0.png"]


def test_nothing_usable_is_refused_and_leaves_no_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_text("text")
    with pytest.raises(InputError, match=r"none of 2 pictures can be used, the first being a\.jpg: not a picture"):
        extract_features(tmp_path / "photos", tmp_path / "out", TinyRegions())
    assert not (tmp_path / "out").exists()


def test_too_little_room_is_said_before_the_work_is_done(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    encoder = TinyRegions()
    with pytest.raises(InputError, match="free on this disk"):
        extract_features(photos, tmp_path / "out", encoder)
    assert encoder.batches == []
    assert not (tmp_path / "out").exists()


def _hold(folder: Path, ready, leave) -> None:
    from crossgraph.data.manifest import EncoderInfo
    from crossgraph.data.shards import ShardWriter

    with ShardWriter(folder, EncoderInfo("tiny", "5" * 64, 6, 4, (2, 2))):
        ready.set()
        leave.wait(60)


def test_two_processes_cannot_write_one_folder(photos, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "out", ready, leave))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InputError, match="another process"):
            extract_features(photos, tmp_path / "out", TinyRegions())
    finally:
        leave.set()
        other.join()
    assert extract_features(photos, tmp_path / "out", TinyRegions()).pictures == 10


@pytest.mark.parametrize(
    ("option", "values"),
    [("--batch-size", {"batch_size": 0}), ("--workers", {"workers": -1}), ("--max-megapixels", {"max_megapixels": 0})],
)
def test_settings_that_cannot_work_name_their_option(option, values):
    with pytest.raises(InputError, match=option):
        Settings(**values)


# pictures that cannot be seen or read now keep their features


def kept_unread(photos: Path, out: Path, number: int) -> None:
    """Extract again; everything is there as before, and the line says why."""
    before = contents(out)
    outcome = extract_features(photos, out, TinyRegions())
    assert (outcome.pictures, outcome.extracted, outcome.dropped, outcome.broken) == (10, 0, 0, [])
    reason = os.strerror(number).lower()
    assert outcome.notes == [
        f"{photos / '1'}: 5 pictures below it cannot be read now ({reason}); what is known of them stays"
    ]
    assert contents(out).keys() == before.keys()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE])
def test_a_folder_that_cannot_be_listed_keeps_its_features(photos, tmp_path, monkeypatch, number):
    extract_features(photos, tmp_path / "out", TinyRegions())
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path) == photos / "1":
            raise OSError(number, os.strerror(number))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    kept_unread(photos, tmp_path / "out", number)


def test_files_that_cannot_be_opened_keep_their_features(photos, tmp_path, monkeypatch):
    extract_features(photos, tmp_path / "out", TinyRegions())

    def refuse(path: Path) -> str:
        if path.parent == photos / "1":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return sha256(path)

    monkeypatch.setattr("crossgraph.data.extraction.files.sha256", refuse)
    kept_unread(photos, tmp_path / "out", errno.EIO)


def test_a_folder_that_suddenly_holds_nothing_keeps_its_features_until_it_is_deleted(photos, tmp_path):
    extract_features(photos, tmp_path / "out", TinyRegions())
    shutil.move(photos / "1", tmp_path / "away")
    (photos / "1").mkdir()
    outcome = extract_features(photos, tmp_path / "out", TinyRegions())
    assert (outcome.pictures, outcome.dropped) == (10, 0)
    (note,) = outcome.notes
    assert note.startswith(f"{photos / '1'}: holds no picture any more; the 5 pictures known from it stay: ")
    assert note.endswith(f"if they are gone: delete '{photos / '1'}'")
    (photos / "1").rmdir()
    outcome = extract_features(photos, tmp_path / "out", TinyRegions())
    assert (outcome.pictures, outcome.dropped, outcome.notes) == (5, 5, [])


def test_pictures_moved_to_another_folder_leave_no_features_behind(photos, tmp_path):
    extract_features(photos, tmp_path / "out", TinyRegions())
    (photos / "sorted").mkdir()
    for path in list((photos / "1").iterdir()):
        path.rename(photos / "sorted" / path.name)
    outcome = extract_features(photos, tmp_path / "out", TinyRegions())
    assert (outcome.pictures, outcome.extracted, outcome.dropped, outcome.notes) == (10, 5, 5, [])


def test_hidden_and_system_folders_are_passed_over_with_a_line(photos, tmp_path):
    paint(photos / "@eaDir" / "t.png", 20)
    paint(photos / ".thumbnails" / "t.png", 21)
    outcome = extract_features(photos, tmp_path / "out", TinyRegions())
    assert outcome.pictures == 10
    assert outcome.notes == [f"{photos}: passed over 2 folders (1 @eaDir, 1 hidden); name one to use it"]
    assert extract_features(photos / "@eaDir", tmp_path / "named", TinyRegions()).pictures == 1
