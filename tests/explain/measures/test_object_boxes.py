"""Boxes of named things: read from both layouts, found by picture, refused in one line; words find their things."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from references.planted import planted_split

from crossgraph.core.errors import InputError
from crossgraph.explain.measures.object_boxes import find_boxes, read_boxes
from crossgraph.explain.measures.object_names import category_lexicon, find_mentions, scene_lexicon

SCENES = {
    "size": 320,
    "pictures": {
        "pictures/000000.png": {
            "ground": "night",
            "objects": [
                {"name": "ice cream", "colour": None, "box": [0, 32, 160, 320]},
                {"name": "ice cream", "colour": None, "box": [160, 0, 320, 320]},
                {"name": "car", "colour": "red", "box": [10, 20, 30, 40]},
            ],
        }
    },
}
COCO = category_lexicon(["person", "fire hydrant", "mouse", "hot dog", "dog", "tv", "bicycle", "knife", "widget"])


def write(folder: Path, name: str, value: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    return folder / name


def named(caption: str, lexicon=COCO) -> list[tuple[str, str | None]]:
    return [(caption[one.start : one.end], one.name) for one in find_mentions(caption, lexicon)]


def test_scenes_boxes_are_shares_of_the_picture_and_answer_to_name_and_kind(tmp_path: Path):
    things = read_boxes(write(tmp_path, "objects.json", SCENES))
    (boxes,) = things.for_images(["pictures/000000.png"])
    assert things.count == 3
    assert boxes["ice cream"].tolist() == [[0, 0.1, 0.5, 1], [0.5, 0, 1, 1]]
    assert boxes["food"].tolist() == boxes["ice cream"].tolist()
    assert boxes["vehicle"].shape == (1, 4)


def test_coco_boxes_are_cut_to_the_picture(tmp_path: Path):
    _, file = planted_split(1)
    file["annotations"] = [{"image_id": 1, "category_id": 0, "bbox": [-10, 40, 120, 80]}]
    (boxes,) = read_boxes(write(tmp_path, "i.json", file)).for_images(["000000000001.jpg"])
    assert boxes["dog"].tolist() == [[0, 0.5, 1, 1]]


@pytest.mark.parametrize("name", ["objects.json", "instances_boxes.json", "annotations/instances_val2017.json"])
def test_a_data_folders_own_boxes_are_found(tmp_path: Path, name: str):
    value = SCENES if name == "objects.json" else planted_split(2)[1]
    write((tmp_path / name).parent, Path(name).name, value)
    found = find_boxes(tmp_path)
    assert found is not None
    assert found.source == tmp_path / name
    assert find_boxes(tmp_path / "captions.json") is not None or name.startswith("annotations")


def test_a_folder_without_boxes_has_none(tmp_path: Path):
    assert find_boxes(tmp_path) is None


def test_pictures_are_found_by_other_names_of_theirs_too(tmp_path: Path):
    things = read_boxes(write(tmp_path, "i.json", planted_split(3)[1]))
    for names in (["images/000000000002.jpg"], ["COCO_val2014_000000000002.jpg"], ["000000000002.png"]):
        assert things.for_images(names)[0], names
    assert things.for_images(["000000000077.jpg"]) == [{}]


def test_pictures_that_are_merely_counted_get_no_boxes_of_coco_numbers(tmp_path: Path):
    things = read_boxes(write(tmp_path, "i.json", planted_split(3)[1]))
    assert things.for_images(["0", "1", "2", "3"]) == [{}] * 4
    assert all(things.for_images(["1", "2", "3"]))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "holds no boxes"),
        ({"images": [], "annotations": []}, "no 'categories'"),
        ({"images": [], "annotations": [], "categories": []}, "holds no boxes"),
        ({"pictures": {}, "size": 320}, "holds no boxes"),
        ({"pictures": {"a": {"objects": [{"name": "dog"}]}}, "size": 320}, "no 'box'"),
        ({"pictures": {"a": {"objects": [{"name": "dog", "box": [0, 0, 1, 1]}]}}, "size": 0}, "size 0"),
        ({"pictures": {"a": {"objects": [{"name": "dog", "box": [5, 0, 1, 1]}]}}, "size": 9}, "box"),
        ({"pictures": {"a": {"objects": [{"name": "dog", "box": [0, 0, "x", 1]}]}}, "size": 9}, "could not convert"),
        ({"pictures": {"a": []}, "size": 9}, "not as it should be"),
    ],
)
def test_files_without_usable_boxes_are_refused_by_name(tmp_path: Path, value: object, says: str):
    with pytest.raises(InputError, match=says) as refusal:
        read_boxes(write(tmp_path, "b.json", value))
    assert "b.json" in refusal.value.problem


def test_missing_files_folders_and_captions_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        read_boxes(tmp_path / "none.json")
    with pytest.raises(InputError, match="is a folder"):
        read_boxes(tmp_path)
    captions = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a dog"}]}
    with pytest.raises(InputError, match="not as it should be"):
        read_boxes(write(tmp_path, "captions.json", captions))


def test_words_name_categories_by_name_plural_and_synonym():
    assert named("Two Men on a bike, a woman and people") == [
        ("Men", "person"),
        ("bike", "bicycle"),
        ("woman", "person"),
        ("people", "person"),
    ]
    assert named("knives and a flat screen, monitors") == [("knives", "knife"), ("screen", "tv"), ("monitors", "tv")]
    assert named("three widgets") == [("widgets", "widget")]


def test_the_longest_phrase_wins_and_its_head_is_the_word():
    assert named("a hot dog beside a dog") == [("dog", "hot dog"), ("dog", "dog")]
    assert named("fire hydrants and a hydrant") == [("hydrants", "fire hydrant"), ("hydrant", "fire hydrant")]


def test_phrases_that_only_look_like_a_thing_name_nothing():
    assert named("a mouse on a mouse pad") == [("mouse", "mouse")]
    assert named("A star under the stars.", scene_lexicon()) == [("star", "star")]


def test_scenes_things_are_named_by_name_and_by_kind():
    assert named("Two ice creams, a piece of food and an object near a palm tree", scene_lexicon()) == [
        ("creams", "ice cream"),
        ("food", "food"),
        ("object", "object"),
        ("tree", "palm tree"),
    ]


@pytest.mark.shared
def test_the_546_boxes_of_coco_mini_open_are_read_and_named(shared: Path):
    folder = shared / "data" / "coco-mini-open"
    things = find_boxes(folder)
    assert things is not None
    assert things.count == 546
    captions = json.loads((folder / "captions.json").read_text())
    files = {image["id"]: image["file_name"] for image in captions["images"]}
    boxes = dict(zip(files.values(), things.for_images(list(files.values())), strict=True))
    pairs = [
        word
        for one in captions["annotations"]
        for word in things.mentions(one["caption"])
        if word.name in boxes[files[one["image_id"]]]
    ]
    assert sum(map(bool, boxes.values())) == 51
    assert len(pairs) > 300
    assert all(((array >= 0) & (array <= 1)).all() for of in boxes.values() for array in of.values())
    assert np.mean([word.name == "person" for word in pairs]) < 0.5
