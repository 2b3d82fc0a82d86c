"""Karpathy's files, COCO's files and plain captions files, paired with features that name their pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from references.tiny_features import write_shards

from crossgraph.core.errors import InputError
from crossgraph.data import DataSet, open_data

NAMES = [f"p{i}.jpg" for i in range(6)]
SPLITS = ["train", "restval", "val", "test", "train", "test"]


def opened(path: Path, notes: list[str] | None = None, features: Path | None = None) -> DataSet:
    return open_data(path, features, log=[].append if notes is None else notes.append)


def karpathy(folder: Path, **changes: Any) -> Path:
    images = [
        {
            "filename": name,
            "split": split,
            "sentences": [{"raw": f"A {c}. caption of {name}", "tokens": ["a", f"{c}"]} for c in range(number + 1)],
        }
        for number, (name, split) in enumerate(zip(NAMES, SPLITS, strict=True))
    ]
    images[0] |= changes
    folder.mkdir(exist_ok=True)
    (folder / "dataset_x.json").write_text(json.dumps({"dataset": "x", "images": images}))
    return folder


def coco(path: Path, ids: Sequence[int] = range(6)) -> None:
    images = [{"id": i, "file_name": f"{i:012d}.jpg"} for i in ids]
    annotations = [{"id": 10 * c + i, "image_id": i, "caption": f"caption {c} of {i}"} for c in (0, 1) for i in ids]
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


def rows(folder: Path, *lines: Mapping[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_karpathys_splits_with_any_number_of_captions(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d")
    write_shards(folder / "features", NAMES[::-1])
    notes: list[str] = []
    data = opened(folder, notes)
    assert data.splits == ["train", "dev", "test"], "restval belongs to train, val is dev"
    train = data.split("train")
    assert train.image_ids == ["p0.jpg", "p1.jpg", "p4.jpg"] and train.caption_image.tolist() == [
        0,
        1,
        1,
        2,
        2,
        2,
        2,
        2,
    ]
    assert train.captions[1] == "A 0. caption of p1.jpg"
    assert train.features.read([2, 0]).features[:, 0, 0].tolist() == [1, 5], "rows follow the captions, not the shards"
    assert notes == ["karpathy: 3 images × 3 × 4, 8 captions (train)"]


def test_the_files_own_tokens_by_choice(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d")
    write_shards(folder / "features", NAMES)
    data = open_data(folder, captions="tokens", log=[].append)
    assert data.split("train").captions[:2] == ["a 0", "a 0"]


def test_only_the_asked_splits_features_are_opened(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d")
    write_shards(folder / "features", [*NAMES[:3], NAMES[4], NAMES[3], NAMES[5]])
    (folder / "features" / "features-00001.npy").write_bytes(b"test pictures only")
    data = opened(folder)
    assert len(data.split("train").image_ids) == 3 and len(data.split("dev").image_ids) == 1
    with pytest.raises(InputError, match="features-00001"):
        data.split("test")


def test_coco_with_one_file_gets_splits_and_keeps_them(tmp_path: Path) -> None:
    coco(tmp_path / "d" / "captions.json", range(30))
    (tmp_path / "d" / "instances_boxes.json").write_text('{"images": [], "annotations": [{"bbox": [1]}]}')
    write_shards(tmp_path / "d" / "features", [f"images/{i:012d}.jpg" for i in range(30)])
    notes: list[str] = []
    first, second = opened(tmp_path / "d", notes), opened(tmp_path / "d", notes)
    sizes = {name: len(first.split(name).image_ids) for name in first.splits}
    assert sizes == {"train": 18, "dev": 6, "test": 6}
    assert [first.split(n).image_ids for n in first.splits] == [second.split(n).image_ids for n in second.splits]
    assert sum("made by picture: train 18, dev 6, test 6; saved as" in note for note in notes) == 1
    assert first.split("test").captions[:2] == [
        f"caption {c} of {int(first.split('test').image_ids[0][:-4])}" for c in (0, 1)
    ]


def test_coco_with_a_file_per_split(tmp_path: Path) -> None:
    coco(tmp_path / "d" / "annotations" / "captions_train2017.json", range(4))
    coco(tmp_path / "d" / "annotations" / "captions_val2017.json", range(4, 7))
    write_shards(tmp_path / "d" / "features", [f"{i}" for i in range(7)])
    data = opened(tmp_path / "d")
    assert data.splits == ["train", "dev"] and len(data.split("dev").image_ids) == 3


def test_a_captions_file_may_be_named_itself(tmp_path: Path) -> None:
    coco(tmp_path / "d" / "anything.json", range(5))
    write_shards(tmp_path / "features", [f"{i}" for i in range(5)])
    assert opened(tmp_path / "d" / "anything.json", features=tmp_path / "features").layout == "coco"


def test_a_csv_has_a_row_a_caption(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text(
        'image,caption,split\na.jpg,"A dog, running",train\nb.jpg,A cat,val\na.jpg,"Two\nlines",train\n'
    )
    write_shards(tmp_path / "features", ["a.jpg", "b.jpg"])
    data = opened(tmp_path)
    assert data.splits == ["train", "dev"] and data.split("train").captions == ["A dog, running", "Two\nlines"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile_name;text;split\na.jpg;a dog, running;test\n",
        "filename\tcaption\tsplit\na.jpg\ta dog, running\ttest\n",
        "image_name| comment_number| comment| split\na.jpg| 0| a dog, running| test\n",
        'Image, Caption, Split\r\na.jpg, "a dog, running", Test\r\n\r\n',
    ],
)
def test_a_csv_may_come_from_any_program(tmp_path: Path, text: str) -> None:
    (tmp_path / "captions.csv").write_bytes(text.encode())
    write_shards(tmp_path / "features", ["a.jpg"])
    assert opened(tmp_path).split("test").captions == ["a dog, running"]


def test_jsonl_lines_hold_one_caption_or_several(tmp_path: Path) -> None:
    rows(
        tmp_path / "d",
        {"image": "pictures/a.jpg", "captions": ["one", "two"], "split": "hard"},
        {"file_name": "pictures/b.jpg", "caption": "three", "split": "train"},
        {"image": "pictures/a.jpg", "caption": "four", "split": "hard"},
    )
    write_shards(tmp_path / "d" / "features", ["a.jpg", "b.jpg"])
    data = opened(tmp_path / "d")
    assert data.splits == ["train", "hard"]
    split = data.split("hard")
    assert split.captions == ["one", "two", "four"] and split.caption_image.tolist() == [0, 0, 0]


def test_pictures_are_found_below_or_beside_the_captions(tmp_path: Path) -> None:
    folder = rows(tmp_path / "d", *({"image": n, "caption": "a dog", "split": "test"} for n in ("a.jpg", "b.jpg")))
    write_shards(folder / "features", ["a.jpg", "b.jpg"])
    assert list(opened(folder).split("test").picture_paths) == []
    (folder / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "images" / name).touch()
    assert opened(folder).split("test").picture_paths == [folder / "images" / name for name in ("a.jpg", "b.jpg")]


def test_pictures_without_features_are_refused_by_name_when_their_split_is_opened(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d")
    write_shards(folder / "features", NAMES[:3])
    data = opened(folder)
    with pytest.raises(InputError, match=r"1 of 3 pictures have no features in .*features \('p4.jpg'\)"):
        data.split("train")
    assert len(data.split("dev").image_ids) == 1


def test_features_of_other_pictures_altogether_are_refused_at_once(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d")
    write_shards(folder / "features", ["x.jpg"])
    with pytest.raises(InputError, match=r"6 of 6 pictures have no features .*they hold 'x.jpg'"):
        opened(folder)


def test_features_without_captions_are_noted(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d")
    write_shards(folder / "features", [*NAMES, "x.jpg"])
    notes: list[str] = []
    opened(folder, notes)
    assert len(notes) == 1 and "1 of 7 pictures have no caption ('x.jpg')" in notes[0]


def test_pictures_that_extraction_could_not_read_are_left_out_with_a_note(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d")
    write_shards(folder / "features", NAMES[1:], broken=["p0.jpg", "other.jpg"])
    notes: list[str] = []
    assert opened(folder, notes).split("train").image_ids == ["p1.jpg", "p4.jpg"]
    assert "1 pictures could not be read and are left out ('p0.jpg')" in notes[0]


def test_pictures_without_captions_are_left_out_with_a_note(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d", sentences=[])
    write_shards(folder / "features", NAMES)
    notes: list[str] = []
    assert opened(folder, notes).split("train").image_ids == ["p1.jpg", "p4.jpg"]
    assert "1 pictures without a caption" in notes[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filename": "p1.jpg"}, "picture 'p1.jpg' stands in it twice"),
        ({"sentences": [{"tokens": []}]}, r"images\[0\] is not as Karpathy's files have it \('raw'\)"),
        ({"sentences": [{"raw": "  "}]}, "'p0.jpg' has an empty caption"),
        ({"sentences": [{"raw": "half \ud83d"}]}, "half a character in the text of 'p0.jpg'"),
        ({"sentences": 5}, "not as Karpathy's"),
    ],
)
def test_a_strange_entry_of_karpathys_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = karpathy(tmp_path / "d", **changes)
    write_shards(folder / "features", NAMES)
    with pytest.raises(InputError, match=message) as caught:
        opened(folder)
    assert "dataset_x.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no caption"),
        ("not json\n", "line 1: not valid JSON"),
        ('{"image": "a.jpg", "caption": "a"}\n[]\n', "line 2: not an object"),
        ('{"image": "a.jpg"}\n', r"line 1: has no 'caption' \(it has image\)"),
        ('{"imge": "a.jpg", "caption": "x"}\n', "rename 'imge' to 'image'"),
        ('{"image": 3, "caption": "x"}\n', "line 1: names no picture"),
        ('{"image": "a.jpg", "caption": 3}\n', "line 1: the caption is 3, not text"),
        ('{"image": "a.jpg", "caption": " "}\n', "'a.jpg' has an empty caption"),
        (
            '{"image": "a.jpg", "caption": "x", "split": "train"}\n{"image": "a.jpg", "caption": "y"}\n',
            "line 2: 'a.jpg' is",
        ),
        (
            '{"image": "a.jpg", "caption": "x", "split": "train"}\n{"image": "b.jpg", "caption": "y"}\n',
            r"1 of 2 pictures name no split \('b.jpg'\): name one for them too",
        ),
    ],
)
def test_a_strange_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "captions.jsonl").write_text(text)
    write_shards(tmp_path / "features", ["a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=message):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "holds no caption"),
        (b"image,caption\n", "holds no caption"),
        (
            b"image,caption\na.jpg,a dog, running\n",
            "line 2 has 3 of 2 fields: put the caption in quotes where it holds a comma",
        ),
        (b"image,caption\na.jpg\n", "line 2 has 1 of 2 fields"),
        (b"name,words\na.jpg,a dog\n", "line 2: has no 'image'"),
        (b"image,caption\na.jpg,caf\xe9\n", "byte 23 is not UTF-8"),
        (b"a.jpg,a dog\nb.jpg,a cat\n", r"line 1: a row \('a.jpg', ...\) where the columns should be named"),
    ],
)
def test_a_strange_csv_is_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "captions.csv").write_bytes(text)
    write_shards(tmp_path / "features", ["a.jpg"])
    with pytest.raises(InputError, match=message):
        opened(tmp_path)


def words(count: int) -> list[str]:
    return [f"caption {number}" for number in range(count)]


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (words(21), r"1 picture has far more captions than usual: 'p0.jpg' has 21, most have 2"),
        (
            ["long " * 101],
            r"1 picture has a caption far longer than usual: one of 'p0.jpg' has 505 characters, most .* 9",
        ),
        (words(20), ""),
        (["x" * 500], ""),
    ],
)
def test_a_picture_with_captions_unlike_the_others_is_noted(tmp_path: Path, captions: list[str], message: str) -> None:
    lines = [{"image": name, "captions": words(2), "split": "train"} for name in NAMES]
    rows(tmp_path, lines[0] | {"captions": captions}, *lines[1:])
    write_shards(tmp_path / "features", NAMES)
    notes: list[str] = []
    opened(tmp_path, notes)
    assert len(notes) == bool(message) and re.search(message, "".join(notes))


def test_a_picture_that_is_gone_with_its_features_is_left_out_with_a_note(tmp_path: Path) -> None:
    rows(tmp_path, *({"image": name, "caption": "a dog", "split": "train"} for name in NAMES))
    write_shards(tmp_path / "features", NAMES[1:])
    for name in NAMES[1:]:
        (tmp_path / name).touch()
    notes: list[str] = []
    assert opened(tmp_path, notes).split("train").image_ids == NAMES[1:]
    assert "1 pictures are gone, with their features, and are left out ('p0.jpg')" in notes[0]
    (tmp_path / NAMES[0]).touch()
    with pytest.raises(InputError, match=r"1 of 6 pictures have no features .* extract those pictures too"):
        opened(tmp_path).split("train")


def test_most_pictures_gone_is_no_removal(tmp_path: Path) -> None:
    rows(tmp_path, *({"image": name, "caption": "a dog", "split": "train"} for name in NAMES))
    write_shards(tmp_path / "features", NAMES[4:])
    for name in NAMES[4:]:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="4 of 6 pictures have no features"):
        opened(tmp_path).split("train")


@pytest.mark.parametrize(
    ("written", "message"),
    [(None, r"annotations\[0\]: the caption is null"), ("['a', 'b'", "begins as a list"), (3, "3, not text")],
)
def test_a_caption_of_cocos_that_is_none_is_refused(tmp_path: Path, written: object, message: str) -> None:
    value = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": written}]}
    (tmp_path / "captions.json").write_text(json.dumps(value))
    write_shards(tmp_path / "features", ["a.jpg"])
    with pytest.raises(InputError, match=message):
        opened(tmp_path)


def test_a_list_written_as_text_is_several_captions_in_json_too(tmp_path: Path) -> None:
    folder = karpathy(tmp_path / "d", sentences=[{"raw": "['one', 'two']"}])
    write_shards(folder / "features", NAMES)
    assert opened(folder).split("train").captions[:2] == ["one", "two"]


def test_annotations_of_unknown_pictures_are_refused(tmp_path: Path) -> None:
    value = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": "x"}]}
    (tmp_path / "captions.json").write_text(json.dumps(value))
    write_shards(tmp_path / "features", ["a.jpg"])
    with pytest.raises(InputError, match=r"1 captioned pictures are not among its images \(image_id 2\)"):
        opened(tmp_path)


@pytest.mark.shared
def test_the_coco_mini_set_is_read_as_it_lies_there(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "coco-mini-open"
    (tmp_path / "captions.json").write_bytes((source / "captions.json").read_bytes())
    (tmp_path / "instances_boxes.json").write_bytes((source / "instances_boxes.json").read_bytes())
    (tmp_path / "images").symlink_to(source / "images")
    write_shards(tmp_path / "features", sorted(path.name for path in (source / "images").iterdir()))
    data = opened(tmp_path)
    assert [len(data.split(name).image_ids) for name in data.splits] == [46, 15, 15]
    assert set(np.bincount(data.split("train").caption_image)) == {5}
    assert data.split("dev").picture_paths[0].is_file()
