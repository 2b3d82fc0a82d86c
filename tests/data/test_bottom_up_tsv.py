"""Bottom-up-attention tables: indexed once, read by line, any number of regions."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from references.tiny_features import table_line

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.bottom_up_tsv import BottomUpFeatures, find_tables


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "crossgraph"


def table(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def opened(path: Path, notes: list[str] | None = None) -> BottomUpFeatures:
    return BottomUpFeatures(path, find_tables(path), [].append if notes is None else notes.append)


def test_regions_are_padded_and_masked_and_boxes_are_shares(tmp_path: Path) -> None:
    features = opened(table(tmp_path / "a.tsv", table_line("7", 2, 0.5), table_line("42", 3, 1.5)))
    assert features.ids == ["7", "42"] and features.broken == []
    source = pickle.loads(pickle.dumps(features.choose([1, 0])))
    assert source.shape == (2, 3, 4) and source.encoder == "bottom-up-attention"
    regions = source.read(np.array([1, 0, 1]))
    assert regions.mask.tolist() == [[True, True, False], [True] * 3, [True, True, False]]
    assert regions.features[:, :, 0].tolist() == [[0.5, 0.5, 0], [1.5] * 3, [0.5, 0.5, 0]]
    assert regions.boxes is not None
    np.testing.assert_allclose(regions.boxes[0], [[0, 0.25, 0.5, 0.5]] * 2 + [[0] * 4])


def test_a_data_set_finds_its_pictures_by_number_in_several_files(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"COCO_val2014_{i:012d}.jpg"} for i in (7, 42)]
    annotations = [{"image_id": i, "caption": f"caption of {i}"} for i in (42, 7)]
    for name in ("train", "val"):
        value = {"images": [images[name == "val"]], "annotations": [annotations[name == "train"]]}
        (tmp_path / f"captions_{name}.json").write_text(json.dumps(value))
    table(tmp_path / "trainval.tsv", table_line("42", 2, 4.2))
    table(tmp_path / "trainval.tsv.1", table_line("7", 2, 0.7))
    data = open_data(tmp_path, log=[].append)
    assert data.split("train").features.read([0]).features[0, 0, 0] == pytest.approx(0.7)
    assert data.split("dev").features.read([0]).features[0, 0, 0] == pytest.approx(4.2)


def test_the_index_is_made_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = table(tmp_path / "a.tsv", table_line("7", 2, 0.5))
    opened(path)
    index = tmp_path / "a.tsv.index.json"
    stamp = index.stat().st_mtime_ns
    opened(path)
    assert index.stat().st_mtime_ns == stamp
    table(path, table_line("7", 2, 0.5), table_line("8", 2, 0.5))
    assert opened(path).ids == ["7", "8"]
    index.write_text("{")
    assert opened(path).ids == ["7", "8"], "a damaged index is made again"


def test_an_index_that_cannot_lie_beside_goes_to_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "a.tsv", table_line("7", 2, 0.5))
    (tmp_path / "a.tsv.index.json").mkdir()  # nothing can be written there
    notes: list[str] = []
    opened(path, notes)
    assert len(list(cache.glob("*.index.json"))) == 1 and not notes
    cache.parent.rename(tmp_path / "gone")
    cache.parent.touch()
    opened(path, notes)
    assert "could not be saved" in notes[0]


def test_a_picture_that_stands_twice_counts_once(tmp_path: Path) -> None:
    notes: list[str] = []
    features = opened(table(tmp_path / "a.tsv", table_line("7", 2, 0.5), table_line("7", 3, 9)), notes)
    assert features.choose([0]).shape == (1, 2, 4) and "1 pictures stand twice" in notes[0]


def test_equal_pictures_have_equal_contents(tmp_path: Path) -> None:
    features = opened(table(tmp_path / "a.tsv", *(table_line(name, 2, int(name in "79")) for name in "789")))
    first, second, third, none = features.contents([0, 1, 2, None])
    assert first == third != second and none == ""


def test_the_fingerprint_follows_the_file_and_the_choice(tmp_path: Path) -> None:
    prints = set()
    for value in (1, 2):
        features = opened(table(tmp_path / f"{value}.tsv", table_line("7", 2, value), table_line("8", 2, 3)))
        prints |= {features.choose(rows).fingerprint() for rows in ([0], [1], [1, 0])}
    assert len(prints) == 6


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([table_line("7", 2, 1), table_line("8", 2, 1)[:-30]], "line 2: .* bytes of features for 2 regions"),
        ([table_line("7", 2, 1), table_line("8", 2, 1)[:20]], "line 2: 5 columns, 6 expected"),
        ([table_line("7", 2, 1), table_line("8", 2, 1, width=5)], "line 2: 5 numbers a region, 4 above it"),
        ([table_line("7", 2, 1).replace(b"\t2\t", b"\t3\t")], "line 1: 32 bytes of boxes for 3 regions"),
        ([table_line("7", 2, 1, size=(0, 5))], "line 1: a picture of 0 × 5"),
        ([table_line("7", 2, 1).replace(b"\t2\t", b"\t2x\t")], "no"),
    ],
)
def test_a_damaged_line_is_named_when_the_file_is_indexed(tmp_path: Path, lines: list[bytes], message: str) -> None:
    path = table(tmp_path / "a.tsv", *lines)
    if message == "no":
        assert find_tables(path) == [], "not such a table at all"
        return
    with pytest.raises(InputError, match=rf"a\.tsv: {message}"):
        opened(path)
    assert not list(tmp_path.glob("*.index.json")), "nothing half-made stays"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_names_the_picture_when_it_is_read(tmp_path: Path, value: float) -> None:
    source = opened(table(tmp_path / "a.tsv", table_line("7", 2, value), table_line("8", 2, 1))).choose([0, 1])
    source.read([1])
    with pytest.raises(InputError, match="picture '7' holds NaN or infinite"):
        source.read([1, 0])


def test_base64_that_is_none_names_the_picture_when_it_is_read(tmp_path: Path) -> None:
    line = table_line("7", 2, 1)
    source = opened(table(tmp_path / "a.tsv", line[:-9] + b"!" + line[-8:])).choose([0])
    with pytest.raises(InputError, match="picture '7' cannot be decoded"):
        source.read([0])


def test_files_of_several_widths_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "a.tsv", table_line("7", 2, 1))
    table(tmp_path / "b.tsv", table_line("8", 2, 1, width=6))
    with pytest.raises(InputError, match="features of 4 and of 6 numbers"):
        opened(tmp_path)
