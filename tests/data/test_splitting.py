"""Splits that are made: by picture, near-duplicates together, the same every time, kept in a file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossgraph.core.errors import InputError
from crossgraph.data.near_duplicates import BITS, NEAR, difference_hash, group_alike
from crossgraph.data.splitting import Evidence, assign, find_or_make_splits


def sizes(splits: dict[str, str]) -> list[int]:
    return [list(splits.values()).count(name) for name in ("train", "dev", "test")]


def ids(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def contents(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def of_contents(contents: Sequence[str]) -> Evidence:
    return lambda: ([None] * len(contents), contents)


def of_files(paths: Sequence[Path | None]) -> Evidence:
    return lambda: (paths, [""] * len(paths))


@pytest.mark.parametrize(
    ("count", "expected"),
    [(3, [1, 1, 1]), (10, [6, 2, 2]), (76, [46, 15, 15]), (300, [200, 50, 50]), (2000, [1600, 200, 200])],
)
def test_a_tenth_each_but_enough_for_recall_at_ten(count: int, expected: list[int]) -> None:
    assert sizes(assign(ids(count), list(range(count)), 0)) == expected


@pytest.mark.parametrize("groups", [[], [0], [0, 0, 0, 1]])
def test_fewer_than_three_different_pictures_are_refused(groups: list[int]) -> None:
    with pytest.raises(InputError, match="are too few to make splits"):
        assign(ids(len(groups)), groups, 0)


@given(
    st.lists(st.integers(0, 20), min_size=3, max_size=60).filter(lambda groups: len(set(groups)) > 2), st.integers(0, 9)
)
def test_no_group_is_torn_apart_and_every_split_has_pictures(groups: list[int], seed: int) -> None:
    splits = assign(ids(len(groups)), groups, seed)
    assert len({(group, splits[name]) for name, group in zip(ids(len(groups)), groups, strict=True)}) == len(
        set(groups)
    )
    assert min(sizes(splits)) > 0


def test_the_order_of_the_pictures_does_not_matter_but_the_seed_does() -> None:
    names = ids(100)
    assert assign(names, names, 0) == assign(names[::-1], names[::-1], 0) != assign(names, names, 1)


def test_made_once_and_kept(tmp_path: Path) -> None:
    notes: list[str] = []
    made = find_or_make_splits(tmp_path, ids(30), of_contents(contents(30)), notes.append)
    again = find_or_make_splits(tmp_path, ids(30)[::-1], lambda: pytest.fail("not asked again"), notes.append)
    assert again == made and len(notes) == 1
    value = json.loads((tmp_path / "splits.json").read_text())
    value["splits"]["train"], value["splits"]["dev"] = value["splits"]["dev"], value["splits"]["train"]
    (tmp_path / "splits.json").write_text(json.dumps(value))
    edited = find_or_make_splits(tmp_path, ids(30), lambda: pytest.fail("not asked"), notes.append)
    assert sizes(dict(edited)) == [6, 18, 6], "the file is the user's to edit"


def test_a_place_that_cannot_be_written_is_said_and_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes: list[str] = []
    made = find_or_make_splits(tmp_path / "file", ids(9), of_contents(contents(9)), notes.append)
    assert sizes(dict(made)) == [7, 1, 1] and "not saved" in notes[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "names no splits"),
        ({"splits": {"train": "p0"}}, "names no splits"),
        ({"splits": {"train": ["p0", "p1"], "test": ["p1", "p2"]}}, "'p1' stands in 'train' and in 'test'"),
        ({"splits": {"train": ["q0"]}}, r"knows none of these 3 pictures \('p0'\), it is of other data: keep it"),
    ],
)
def test_a_strange_splits_file_is_one_line(tmp_path: Path, value: object, message: str) -> None:
    (tmp_path / "splits.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        find_or_make_splits(tmp_path, ids(3), of_contents(contents(3)), [].append)


def test_equal_contents_stay_together_where_pictures_are_not_at_hand(tmp_path: Path) -> None:
    same = [str(i // 2) for i in range(40)]
    made = find_or_make_splits(tmp_path, ids(40), of_contents(same), [].append)
    assert all(made[f"p{i}"] == made[f"p{i + 1}"] for i in range(0, 40, 2))


def saved(folder: Path) -> dict[str, list[str]]:
    return json.loads((folder / "splits.json").read_text())["splits"]


def test_new_pictures_join_train_and_no_known_one_moves(tmp_path: Path) -> None:
    notes: list[str] = []
    made = find_or_make_splits(tmp_path, ids(30), of_contents(contents(30)), [].append)
    grown = find_or_make_splits(tmp_path, ids(35), of_contents(contents(35)), notes.append)
    assert {name: grown[name] for name in ids(30)} == made
    assert {grown[name] for name in ids(35)[30:]} == {"train"}
    assert notes == [f"note: 5 new pictures (train 5); saved as {tmp_path / 'splits.json'}"]
    assert saved(tmp_path)["train"][-5:] == ids(35)[30:]
    assert find_or_make_splits(tmp_path, ids(35), lambda: pytest.fail("asked again"), notes.append) == grown
    assert len(notes) == 1


def test_a_new_picture_like_a_known_one_joins_its_split(tmp_path: Path) -> None:
    notes: list[str] = []
    made = find_or_make_splits(tmp_path, ids(30), of_contents(contents(30)), [].append)
    test, dev, train = (next(name for name in made if made[name] == split) for split in ("test", "dev", "train"))
    like = [test[1:], dev[1:], train[1:], "another"]
    grown = find_or_make_splits(tmp_path, ids(34), of_contents([*contents(30), *like]), notes.append)
    assert [grown[name] for name in ids(34)[30:]] == ["test", "dev", "train", "train"]
    assert "1 new pictures (train 1); 3 new pictures like known ones (train 1, dev 1, test 1)" in notes[0]


def test_a_new_near_duplicate_of_a_photograph_joins_its_split(tmp_path: Path) -> None:
    paths = [tmp_path / f"p{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        photo(number).save(path)
    made = find_or_make_splits(tmp_path, ids(20), of_files(paths), [].append)
    test = next(number for number, name in enumerate(ids(20)) if made[name] == "test")
    photo(test).resize((150, 113)).save(tmp_path / "smaller.jpg", quality=60)
    grown = find_or_make_splits(tmp_path, [*ids(20), "new"], of_files([*paths, tmp_path / "smaller.jpg"]), [].append)
    assert grown["new"] == "test"


def test_what_is_like_a_picture_of_test_never_joins_train(tmp_path: Path) -> None:
    value = {"splits": {"train": ["p0", "p1"], "val": ["p2"], "test": ["p3"]}, "mine": 1}
    (tmp_path / "splits.json").write_text(json.dumps(value))
    same = of_contents(["a", "b", "c", "a", "a", "b", "d"])
    grown = find_or_make_splits(tmp_path, ids(7), same, [].append)
    assert [grown[name] for name in ids(7)] == ["train", "train", "dev", "test", "test", "train", "train"]
    kept = json.loads((tmp_path / "splits.json").read_text())
    assert kept == {"splits": {"train": ["p0", "p1", "p5", "p6"], "val": ["p2"], "test": ["p3", "p4"]}, "mine": 1}


def test_a_picture_that_returns_has_its_former_split(tmp_path: Path) -> None:
    made = find_or_make_splits(tmp_path, ids(30), of_contents(contents(30)), [].append)
    lost = [name for name in made if made[name] == "test"]
    left = [name for name in ids(30) if name not in lost]
    notes: list[str] = []
    assert find_or_make_splits(tmp_path, left, lambda: pytest.fail("asked"), notes.append) == {
        name: made[name] for name in left
    }
    assert f"6 of its pictures are not in the data now ('{lost[0]}'); it keeps their splits" in notes[0]
    grown = [*left, "new"]
    find_or_make_splits(tmp_path, grown, of_contents(contents(len(grown))), notes.append)
    back = find_or_make_splits(tmp_path, [*ids(30), "new"], lambda: pytest.fail("asked"), notes.append)
    assert {name: back[name] for name in ids(30)} == made


def test_pictures_in_another_folder_keep_their_splits(tmp_path: Path) -> None:
    made = find_or_make_splits(tmp_path, ids(30), of_contents(contents(30)), [].append)
    notes: list[str] = []
    moved = [f"images/{name}" for name in ids(30)]
    assert find_or_make_splits(tmp_path, moved, lambda: pytest.fail("asked"), notes.append) == {
        f"images/{name}": split for name, split in made.items()
    }
    assert "30 known pictures under another path (train 18, dev 6, test 6)" in notes[0]
    find_or_make_splits(tmp_path, moved, lambda: pytest.fail("asked"), notes.append)
    assert len(notes) == 1, "their earlier paths are not missed"


def test_nothing_is_written_of_new_pictures_that_cannot_be_compared(tmp_path: Path) -> None:
    find_or_make_splits(tmp_path, ids(30), of_contents(contents(30)), [].append)
    before = (tmp_path / "splits.json").read_bytes()
    grown = find_or_make_splits(tmp_path, ids(31), of_contents([*contents(30), ""]), [].append)
    assert grown["p30"] == "train" and (tmp_path / "splits.json").read_bytes() == before


def test_no_remedy_about_a_splits_file_makes_other_splits(tmp_path: Path) -> None:
    for text in ("{", "{}", '{"splits": {"train": ["p0"], "test": ["p0"]}}', '{"splits": {"test": ["q"]}}'):
        (tmp_path / "splits.json").write_text(text)
        with pytest.raises(InputError) as caught:
            find_or_make_splits(tmp_path, ids(3), of_contents(contents(3)), [].append)
        assert not re.search("remove|delete|new splits|make it again", str(caught.value))
        assert (tmp_path / "splits.json").read_text() == text


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return something like a photograph: a few large soft shapes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def test_copies_in_other_sizes_and_qualities_stay_together(tmp_path: Path) -> None:
    names, paths = [], []
    for number in range(20):
        for kind in ("a.png", "b.jpg", "c.webp"):
            name = f"{number}{kind}"
            picture = photo(number) if kind != "b.jpg" else photo(number).resize((150, 113))
            picture.save(tmp_path / name, **({"quality": 40} if kind != "a.png" else {}))
            names.append(name)
            paths.append(tmp_path / name)
    made = find_or_make_splits(tmp_path, names, of_files(paths), [].append)
    groups = {number: {made[f"{number}{kind}"] for kind in ("a.png", "b.jpg", "c.webp")} for number in range(20)}
    assert all(len(splits) == 1 for splits in groups.values()) and min(sizes(dict(made))) >= 6


def test_many_pictures_on_one_ground_do_not_become_one_group(tmp_path: Path) -> None:
    paths = []
    for number in range(30):
        picture = Image.new("RGB", (90, 90), "white")
        picture.paste((0, 0, 0), (number, 2, number + 3, 5))
        paths.append(tmp_path / f"p{number}.png")
        picture.save(paths[-1])
    notes: list[str] = []
    made = find_or_make_splits(tmp_path, ids(30), of_files(paths), notes.append)
    assert min(sizes(dict(made))) >= 1 and "many of the pictures look alike" in notes[0]


def test_flat_and_broken_pictures_have_no_likeness(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), "red").save(tmp_path / "flat.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 half a picture")
    assert [difference_hash(tmp_path / name) for name in ("flat.png", "broken.jpg", "none.png")] == [None] * 3
    assert group_alike([None, None]) == [0, 1] and group_alike([]) == []


@given(st.lists(st.integers(0, 2**BITS - 1), min_size=2, max_size=12), st.data())
def test_grouping_finds_exactly_the_chains_of_near_hashes(values: list[int], data: st.DataObject) -> None:
    for place in range(1, len(values)):
        if data.draw(st.booleans()):
            for bit in data.draw(st.lists(st.integers(0, BITS - 1), max_size=NEAR + 3)):
                values[place] = (values[place - 1] if bit == 0 else values[place]) ^ (1 << bit)
    groups = group_alike([value.to_bytes(BITS // 8, "big") for value in values])
    expected = list(range(len(values)))
    for a, first in enumerate(values):
        for b, second in enumerate(values[:a]):
            if (first ^ second).bit_count() <= NEAR:
                low, high = sorted((expected[a], expected[b]))
                expected = [low if group == high else group for group in expected]
    assert groups == expected
