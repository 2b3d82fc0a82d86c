"""Captions find their pictures' features by path, name or number, and never by guessing."""

from __future__ import annotations

import pytest

from crossgraph.core.errors import InputError
from crossgraph.data.pairing import Name, pair


def rows(wanted: list[str], available: list[str], numbers: list[str] | None = None) -> list[int | None]:
    names = [Name(path, number) for path, number in zip(wanted, numbers or [""] * len(wanted), strict=True)]
    return pair(names, available).rows


@pytest.mark.parametrize(
    ("wanted", "available"),
    [
        (["a.jpg", "b.jpg"], ["b.jpg", "a.jpg"]),
        (["images/a.jpg", "images/b.jpg"], ["b.jpg", "a.jpg"]),
        (["a.jpg", "b.jpg"], ["data/images/b.jpg", "data/images/a.jpg"]),
        (["x/a.jpg", "y/a.jpg"], ["photos/y/a.jpg", "photos/x/a.jpg"]),
        (["./x\\a.jpg", "./x\\b.jpg"], ["x/b.jpg", "x/a.jpg"]),
        (["a.jpg", "b.jpg"], ["b.png", "a.png"]),
        (["p/1000.jpg", "p/2000.jpg"], ["2000", "1000"]),
        (["COCO_val2014_000000000042.jpg", "COCO_val2014_000000000007.jpg"], ["7", "42"]),
        (["000000000042.jpg", "000000000007.jpg"], ["COCO_val2014_000000000007.jpg", "COCO_val2014_000000000042.jpg"]),
    ],
)
def test_the_same_pictures_under_other_names(wanted: list[str], available: list[str]) -> None:
    assert rows(wanted, available) == [1, 0]


def test_a_given_number_names_features() -> None:
    assert rows(["a.jpg", "b.jpg"], ["17", "4"], ["4", "17"]) == [1, 0]


def test_missing_and_extra_are_told() -> None:
    found = pair([Name("a.jpg"), Name("b.jpg")], ["c.jpg", "b.jpg", "d.jpg"])
    assert found.rows == [None, 1] and found.extra == [0, 2]
    assert pair([Name("a.jpg")], []).rows == [None]


def test_a_missing_picture_does_not_get_anothers_features() -> None:
    assert rows(["train/1.jpg", "train/2.jpg"], ["test/1.jpg", "test/2.jpg"]) == [None, None]
    assert rows(["a.jpg", "b.jpg"], ["a.jpg", "b.png"]) == [0, 1], "the best way finds both"
    assert rows(["dog12.jpg"], ["cat12.jpg"]) == [None]
    assert rows(["a.jpg", "b.jpg", "c.jpg"], ["a.jpg", "b.jpg", "x/c.png"])[:2] == [0, 1]


def test_a_name_that_fits_two_pictures_is_refused() -> None:
    with pytest.raises(InputError, match=r"'x/a.jpg' and 'y/a.jpg' are both called 'a.jpg'"):
        rows(["a.jpg", "b.jpg"], ["x/a.jpg", "y/a.jpg", "b.jpg/b.jpg", "x/b.jpg"])
