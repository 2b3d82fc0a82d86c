"""The published layout: repeated or not, with or without boxes and edges, and each way it can be broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.data import DataSet, open_data


def write(
    folder: Path, split: str = "test", images: int = 6, each: int = 5, repeats: int = 1, regions: int = 3
) -> Path:
    folder.mkdir(exist_ok=True)
    features = np.random.default_rng(1).standard_normal((images, regions, 4)).astype(np.float32)
    np.save(folder / f"{split}_ims.npy", features.repeat(repeats, axis=0))
    captions = [f"caption {c} of {i}" for i in range(images) for c in range(each)]
    (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    (folder / f"{split}_ids.txt").write_text("".join(f"{100 + i}\n" for i in range(images)))
    return folder


def opened(folder: Path, notes: list[str] | None = None) -> DataSet:
    return open_data(folder, log=[].append if notes is None else notes.append)


@pytest.mark.parametrize("each", [1, 2, 5, 7])
def test_captions_follow_their_images(tmp_path: Path, each: int) -> None:
    notes: list[str] = []
    split = opened(write(tmp_path / "d", each=each), notes).split("test")
    assert notes == [f"precomp: 6 images × 3 × 4, {6 * each} captions (test)"]
    assert split.caption_image.tolist() == [i for i in range(6) for _ in range(each)]
    assert split.image_ids == [str(100 + i) for i in range(6)] and split.edges is None
    raw = np.load(tmp_path / "d" / "test_ims.npy")
    regions = split.features.read([5, 0])
    np.testing.assert_array_equal(regions.features, raw[[5, 0]])
    assert bool(regions.mask.all()) and regions.boxes is None and split.features.shape == (6, 3, 4)


def test_fivefold_repetition_is_recognised_and_undone(tmp_path: Path) -> None:
    once = opened(write(tmp_path / "once")).split("test")
    five = opened(write(tmp_path / "five", repeats=5)).split("test")
    assert five.features.shape == once.features.shape
    assert five.caption_image.tolist() == once.caption_image.tolist() and five.image_ids == once.image_ids
    np.testing.assert_array_equal(five.features.read([3, 1]).features, once.features.read([3, 1]).features)


def test_as_many_captions_as_images_are_one_each_unless_rows_repeat(tmp_path: Path) -> None:
    split = opened(write(tmp_path / "d", images=10, each=1)).split("test")
    assert split.caption_image.tolist() == list(range(10))
    constant = write(tmp_path / "same", images=10, each=1)
    np.save(constant / "test_ims.npy", np.ones((10, 3, 4), np.float32))
    assert len(opened(constant).split("test").image_ids) == 10, "a constant file repeats nothing"


@pytest.mark.parametrize("step", [1, 5])
def test_ids_may_stand_once_a_picture_or_once_a_caption(tmp_path: Path, step: int) -> None:
    folder = write(tmp_path / "d", repeats=5)
    (folder / "test_ids.txt").write_text("".join(f"p{i}\n" * step for i in range(6)))
    assert opened(folder).split("test").image_ids == [f"p{i}" for i in range(6)]


def test_ids_that_name_nothing_are_replaced_with_a_note(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    (folder / "test_ids.txt").write_text("1\n1\n")
    notes: list[str] = []
    assert opened(folder, notes).split("test").image_ids == ["0", "1", "2", "3", "4", "5"]
    assert "2 ids do not name 6 pictures" in notes[0]
    (folder / "test_ids.txt").unlink()
    assert opened(folder).split("test").image_ids[0] == "0"


def test_only_a_line_feed_ends_a_caption(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", images=1, each=3)
    (folder / "test_caps.txt").write_bytes("\ufeffa dog\u2028runs\r\n  two\x0bcats \r\nthree\r\n\r\n".encode())
    assert opened(folder).split("test").captions == ["a dog\u2028runs", "two\x0bcats", "three"]


def test_splits_come_in_their_order_and_val_is_dev(tmp_path: Path) -> None:
    for name in ("testall", "test", "val", "train"):
        write(tmp_path / "d", name)
    assert opened(tmp_path / "d").splits == ["train", "dev", "test", "testall"]


def test_no_split_is_opened_but_the_one_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", "train")
    for name in ("test_ims.npy", "test_caps.txt", "test_ids.txt"):
        (folder / name).mkdir()  # reading any of these would fail
    data = opened(folder)
    assert data.splits == ["train", "test"] and data.describe() == "precomp: splits train, test"
    assert data.split("train") is data.split("train")
    assert data.describe() == "precomp: 6 images × 3 × 4, 30 captions (train)"
    with pytest.raises(InputError, match="test_ims"):
        data.split("test")


def test_boxes_are_shares_of_the_picture(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", repeats=5)
    boxes = np.tile([10.0, 20.0, 50.0, 80.0], (30, 3, 1))
    np.save(folder / "test_ims_bbx.npy", boxes)
    np.save(folder / "test_ims_size.npy", np.tile([100, 200], (30, 1)))
    regions = opened(folder).split("test").features.read([4])
    np.testing.assert_allclose(regions.boxes[0, 0], [0.1, 0.1, 0.5, 0.4], rtol=1e-6)
    np.save(folder / "test_ims_size.npy", np.tile([60, 90], (30, 1))[:, ::-1])
    regions = opened(folder).split("test").features.read([4])
    np.testing.assert_allclose(regions.boxes[0, 0], [10 / 60, 20 / 90, 50 / 60, 80 / 90], rtol=1e-6)


def test_boxes_without_sizes_are_kept_only_when_they_are_shares(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    np.save(folder / "test_ims_bbx.npy", np.full((6, 3, 4), 0.5))
    assert opened(folder).split("test").features.read([0]).boxes is not None
    np.save(folder / "test_ims_bbx.npy", np.full((6, 3, 4), 50.0))
    notes: list[str] = []
    assert opened(folder, notes).split("test").features.read([0]).boxes is None
    assert "test_ims_size.npy with the pictures' sizes is missing" in notes[0]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (np.zeros((6, 2)), "a picture of no size in row 0"),
        (np.full((6, 2), 9), "boxes of row 0 reach beyond the picture"),
        (np.full((5, 2), 100), "sizes of shape"),
        (np.full((6, 3), 100), "sizes of shape"),
        (np.array([{"image_w": 3}] * 6), "holds Python objects"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, sizes: np.ndarray, message: str) -> None:
    folder = write(tmp_path / "d")
    np.save(folder / "test_ims_bbx.npy", np.full((6, 3, 4), 50.0))
    np.save(folder / "test_ims_size.npy", sizes, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        opened(folder).split("test")


def test_boxes_of_other_features_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    np.save(folder / "test_ims_bbx.npy", np.zeros((6, 2, 4)))
    with pytest.raises(InputError, match=r"boxes of shape \(6, 2, 4\) for features of shape \(6, 3, 4\)"):
        opened(folder).split("test")


def test_edges_are_token_positions_without_the_root(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", images=3, each=1)
    (folder / "test_caps.json").write_text(json.dumps([[[0, 2], [2, 1], [2, 3]], [[0, 1]], []]))
    edges = opened(folder).split("test").edges
    assert edges is not None and list(edges) == [[(2, 1), (2, 3)], [], []] and edges[-3:][0] == edges[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[], []]", "edges of 2 captions, there are 3"),
        ("{}", "no JSON list"),
        ("[[], [", "caption 2: not dependency edges"),
        ("[[], [[0, 1], [1]], []]", "caption 2: not dependency edges"),
        ('[[[0,1],["a", "b"]], [], []]', "caption 1: not dependency edges"),
        ("[[[0,1],[1,-2]], [], []]", "negative position"),
        ("[[], [], []", "truncated"),
    ],
)
def test_strange_edges_are_refused(tmp_path: Path, content: str, message: str) -> None:
    folder = write(tmp_path / "d", images=3, each=1)
    (folder / "test_caps.json").write_text(content)
    with pytest.raises(InputError, match=message):
        opened(folder).split("test")


def test_captions_that_do_not_match_the_images_are_refused_with_both_counts(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    path = folder / "test_caps.txt"
    for lines in (29, 31, 4):
        path.write_text("a dog\n" * lines)
        with pytest.raises(InputError, match=f"test_caps.txt: {lines} captions for the 6 images of test_ims.npy"):
            opened(folder).split("test")
    path.write_text("\n\n")
    with pytest.raises(InputError, match="holds no caption"):
        opened(folder).split("test")
    path.write_bytes(b"caf\xe9\n" * 6)
    with pytest.raises(InputError, match="byte 3 is not UTF-8"):
        opened(folder).split("test")


def test_a_file_without_its_partner_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    (folder / "test_ims.npy").rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"test_ims\.npy: no such file"):
        opened(folder)
    (tmp_path / "kept").rename(folder / "test_ims.npy")
    (folder / "test_caps.txt").unlink()
    with pytest.raises(InputError, match=r"test_caps\.txt: no such file"):
        opened(folder)
    write(folder, "train")
    notes: list[str] = []
    assert opened(folder, notes).splits == ["train"] and "split 'test' is left out" in notes[0]


def test_nan_names_file_and_picture(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", repeats=5)
    features = np.load(folder / "test_ims.npy")
    features[20:25, 0, 0] = np.nan
    np.save(folder / "test_ims.npy", features)
    split = opened(folder).split("test")
    with pytest.raises(InputError, match=r"test_ims\.npy: picture '104' \(row 4\) holds NaN"):
        split.features.read([1, 4])


def test_features_may_lie_elsewhere(tmp_path: Path) -> None:
    folder, other = write(tmp_path / "d"), tmp_path / "npy"
    other.mkdir()
    (folder / "test_ims.npy").rename(other / "test_ims.npy")
    assert open_data(folder, other, log=[].append).split("test").features.shape == (6, 3, 4)


def test_the_fingerprint_tells_features_captions_and_repetition_apart(tmp_path: Path) -> None:
    prints = {opened(write(tmp_path / "d")).split("test").fingerprint()}
    (tmp_path / "d" / "test_caps.txt").write_text("a dog\n" * 30)
    prints.add(opened(tmp_path / "d").split("test").fingerprint())
    prints.add(opened(write(tmp_path / "e", repeats=5)).split("test").fingerprint())
    prints.add(opened(write(tmp_path / "f", regions=2)).split("test").fingerprint())
    assert len(prints) == 4
