"""A feature folder holds what was appended, survives kills, and says what is wrong with it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.data.manifest import read_manifest
from crossgraph.data.shards import EncoderInfo, Picture, ShardFeatures, ShardWriter

ENCODER = EncoderInfo("toy", "ab" * 32, feature_size=3, regions=4, grid=(2, 2))


def picture(name: str) -> Picture:
    return Picture(name, 64, 48, f"sha-{name}")


def values(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(sum(name.encode()))
    return rng.standard_normal((4, 3)).astype(np.float16).astype(np.float32), rng.random((4, 4), dtype=np.float32)


def fill(folder: Path, names: list[str], shard_rows: int = 2) -> None:
    with ShardWriter(folder, ENCODER, shard_rows) as writer:
        for name in names:
            writer.append(picture(name), *values(name))
        writer.finish(names, [("bad.jpg", "not a picture")])


def test_what_is_appended_is_read_back_by_id_in_any_order(tmp_path: Path) -> None:
    fill(tmp_path, list("abcde"))
    manifest = read_manifest(tmp_path / "manifest.json")
    assert [picture.id for picture in manifest.pictures] == list("abcde")
    assert manifest.broken == [("bad.jpg", "not a picture")]
    source = ShardFeatures(tmp_path, manifest, ["e", "a", "c"])
    assert source.shape == (3, 4, 3) and source.encoder == "toy"
    regions = pickle.loads(pickle.dumps(source)).read([2, 0, 0, 1])
    for row, name in enumerate("ceea"):
        features, boxes = values(name)
        np.testing.assert_array_equal(regions.features[row], features)
        np.testing.assert_array_equal(regions.boxes[row], boxes)
    assert bool(regions.mask.all())


def test_no_journal_and_no_temporary_file_outlives_finish(tmp_path: Path) -> None:
    fill(tmp_path, list("abcde"))
    left = {path.name for path in tmp_path.iterdir()}
    shards = {f"{kind}-{n:05d}.npy" for kind in ("features", "boxes") for n in range(3)}
    assert left == shards | {"manifest.json", ".lock"}


def test_an_interrupted_writer_keeps_what_it_buffered_and_the_next_goes_on(
    tmp_path: Path,
) -> None:
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path, ENCODER, 2) as writer:
        for name in "abc":
            writer.append(picture(name), *values(name))
        raise KeyboardInterrupt
    (tmp_path / ".features-00002.npy.x.tmp").write_bytes(b"half")
    with ShardWriter(tmp_path, ENCODER, 2) as writer:
        assert writer.done == {name: f"sha-{name}" for name in "abc"}
        assert not list(tmp_path.glob(".*.tmp"))
        writer.append(picture("d"), *values("d"))
        writer.finish(list("abcd"))
    source = ShardFeatures(tmp_path, read_manifest(tmp_path / "manifest.json"))
    np.testing.assert_array_equal(source.read([3]).features[0], values("d")[0])


def test_kill_9_loses_at_most_the_unfinished_shard(tmp_path: Path) -> None:
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_shards import ENCODER, ShardWriter, picture, values
with ShardWriter(Path({str(tmp_path)!r}), ENCODER, 2) as writer:
    for name in "abcde":
        writer.append(picture(name), *values(name))
    print("ready", flush=True)
    import time; time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        with pytest.raises(InputError, match="another process is writing it"):
            ShardWriter(tmp_path, ENCODER)
        os.kill(child.pid, signal.SIGKILL)
    with ShardWriter(tmp_path, ENCODER, 2) as writer:
        assert set(writer.done) == set("abcd")


def test_a_shard_damaged_after_the_kill_is_made_again(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, ENCODER, 2) as writer:
        for name in "abcd":
            writer.append(picture(name), *values(name))
    path = tmp_path / "features-00000.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with ShardWriter(tmp_path, ENCODER, 2) as writer:
        assert set(writer.done) == set("cd")


def test_a_changed_picture_replaces_its_older_entry_and_dropped_ones_free_their_shard(
    tmp_path: Path,
) -> None:
    fill(tmp_path, list("abcd"))
    with ShardWriter(tmp_path, ENCODER, 2) as writer:
        writer.append(replace(picture("a"), sha256="new"), *values("z"))
        writer.finish(["a", "c"])
    manifest = read_manifest(tmp_path / "manifest.json")
    assert {picture.id: picture.sha256 for picture in manifest.pictures} == {
        "a": "new",
        "c": "sha-c",
    }
    assert not (tmp_path / "features-00000.npy").exists()
    np.testing.assert_array_equal(ShardFeatures(tmp_path, manifest).read([0]).features[0], values("z")[0])


def test_the_fingerprint_changes_with_features_and_with_the_choice(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "one", list("abcd"))
    fill(tmp_path / "two", list("abcd"))
    fill(tmp_path / "three", list("abce"))
    prints = [
        ShardFeatures(tmp_path / name, read_manifest(tmp_path / name / "manifest.json")).fingerprint()
        for name in ("one", "two", "three")
    ]
    assert prints[0] == prints[1] != prints[2]
    chosen = ShardFeatures(tmp_path / "one", read_manifest(tmp_path / "one/manifest.json"), ["b"])
    assert chosen.fingerprint() != prints[0]


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, ["a"])
    with pytest.raises(InputError, match=r"holds features by toy .*choose another --out folder"):
        ShardWriter(tmp_path, replace(ENCODER, sha256="cd" * 32))


def test_values_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    features, boxes = values("a")
    with (
        ShardWriter(tmp_path, ENCODER) as writer,
        pytest.raises(InputError, match="a: its features are NaN or too large"),
    ):
        writer.append(picture("a"), features * 1e6, boxes)


def test_nan_in_a_shard_names_the_picture(tmp_path: Path) -> None:
    fill(tmp_path, list("ab"))
    shard = np.load(tmp_path / "features-00000.npy")
    shard[1, 2, 0] = np.nan
    np.save(tmp_path / "features-00000.npy", shard)
    source = ShardFeatures(tmp_path, read_manifest(tmp_path / "manifest.json"))
    source.read([0])
    with pytest.raises(InputError, match="picture 'b' holds NaN"):
        source.read([0, 1])


def test_a_truncated_or_missing_shard_is_one_line(tmp_path: Path) -> None:
    fill(tmp_path, list("ab"))
    path = tmp_path / "features-00000.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"features-00000.npy: truncated, 171 bytes of the 176"):
        ShardFeatures(tmp_path, read_manifest(tmp_path / "manifest.json"))
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        ShardFeatures(tmp_path, read_manifest(tmp_path / "manifest.json"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2, this program reads up to 1"),
        ({"format_version": None}, "not a manifest"),
        ({"shards": []}, "not a complete manifest"),
        ({"pictures": "x"}, "not a complete manifest"),
    ],
)
def test_a_strange_manifest_is_one_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    fill(tmp_path, ["a"])
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_manifest(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        ShardWriter(tmp_path / "out", ENCODER)


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out: cannot be written"):
        ShardWriter(tmp_path / "out", ENCODER)
