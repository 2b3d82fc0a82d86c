"""Splits that are made: by picture, near-duplicates together, the same every time, kept in a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossgraph.core.errors import InputError
from crossgraph.data.near_duplicates import BITS, NEAR, difference_hash, group_alike
from crossgraph.data.splitting import assign, find_or_make_splits


def sizes(splits: dict[str, str]) -> list[int]:
    return [list(splits.values()).count(name) for name in ("train", "dev", "test")]


def ids(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def contents(count: int) -> list[str]:
    return [str(i) for i in range(count)]


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
    made = find_or_make_splits(tmp_path, ids(30), [], lambda: contents(30), notes.append)
    again = find_or_make_splits(tmp_path, ids(20), [], lambda: pytest.fail("not asked again"), notes.append)
    assert again == {name: made[name] for name in ids(20)} and len(notes) == 1
    value = json.loads((tmp_path / "splits.json").read_text())
    value["splits"]["train"], value["splits"]["dev"] = value["splits"]["dev"], value["splits"]["train"]
    (tmp_path / "splits.json").write_text(json.dumps(value))
    edited = find_or_make_splits(tmp_path, ids(30), [], list, notes.append)
    assert sizes(dict(edited)) == [6, 18, 6], "the file is the user's to edit"


def test_a_place_that_cannot_be_written_is_said_and_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes: list[str] = []
    made = find_or_make_splits(tmp_path / "file", ids(9), [], lambda: contents(9), notes.append)
    assert sizes(dict(made)) == [7, 1, 1] and "not saved" in notes[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "names no splits"),
        ({"splits": {"train": "p0"}}, "names no splits"),
        ({"splits": {"train": ["p0", "p1"], "test": ["p1", "p2"]}}, "'p1' stands in 'train' and in 'test'"),
        ({"splits": {"train": ["p0"]}}, r"does not know 2 of 3 pictures \('p1'\)"),
    ],
)
def test_a_strange_splits_file_is_one_line(tmp_path: Path, value: object, message: str) -> None:
    (tmp_path / "splits.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        find_or_make_splits(tmp_path, ids(3), [], list, [].append)


def test_equal_contents_stay_together_where_pictures_are_not_at_hand(tmp_path: Path) -> None:
    same = [str(i // 2) for i in range(40)]
    made = find_or_make_splits(tmp_path, ids(40), [], lambda: same, [].append)
    assert all(made[f"p{i}"] == made[f"p{i + 1}"] for i in range(0, 40, 2))


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
    made = find_or_make_splits(tmp_path, names, paths, list, [].append)
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
    made = find_or_make_splits(tmp_path, ids(30), paths, list, notes.append)
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
