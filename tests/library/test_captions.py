"""Captions that lie beside the pictures are attached to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from references.tiny_library import index, names, new_library, write_pictures

from crossgraph.library import Library


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_pictures(tmp_path / "photos", 6)


@pytest.fixture
def library(tmp_path) -> Iterator[Library]:
    with new_library(tmp_path / "library") as made:
        yield made


CAPTIONS = 'image,caption\n000.png,"a dog, red"\n000.png,a cat\nsub/001.png,snow\nmissing.png,nothing\n'


def test_captions_beside_the_pictures_are_attached_to_them(library, photos):
    (photos / "sub").mkdir()
    (photos / "001.png").rename(photos / "sub" / "001.png")
    (photos / "captions.csv").write_text(CAPTIONS)
    index(library, photos)
    pictures = library.manifest.get(library.manifest.ids())
    said = {path.name: picture.captions for picture in pictures.values() for path in picture.paths}
    assert said["000.png"] == ("a cat", "a dog, red")
    assert said["001.png"] == ("snow",)
    assert said["002.png"] == ()
    from crossgraph.store import parse_filter

    assert library.store.count(parse_filter("caption ~ 'DOG'")) == 1


def test_changed_captions_are_known_by_the_next_run(library, photos):
    from crossgraph.store import parse_filter

    (photos / "captions.jsonl").write_text('{"image": "000.png", "captions": ["a dog", "a hound"]}\n')
    index(library, photos)
    (photos / "captions.jsonl").write_text('{"image": "002.png", "caption": "a dog"}\n')
    index(library, photos)
    ids = names(library)
    assert library.get(ids["000.png"]).captions == ()
    assert library.get(ids["002.png"]).captions == ("a dog",)
    assert library.store.count(parse_filter("caption ~ 'dog'")) == 1
    assert library.store.count(parse_filter("caption ~ 'hound'")) == 0
    (photos / "captions.jsonl").unlink()
    index(library, photos)
    assert library.store.count(parse_filter("caption ~ 'dog'")) == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("what is this", "holds no caption"),
        ('image,caption\n000.png,"a dog\n001.png,a cat\n', "line 2: a quote opens here and is not closed"),
        ("image,caption\n000.png\n", "line 2 has 1 of 2 fields"),
    ],
)
def test_a_captions_file_that_cannot_be_read_is_named_and_what_is_known_stays(library, photos, text, reason):
    (photos / "captions.csv").write_text("image,caption\n000.png,a dog\n")
    index(library, photos)
    (photos / "captions.csv").write_text(text)
    found = index(library, photos)
    assert found.broken[0] == (str(photos / "captions.csv"), reason)
    assert library.get(names(library)["000.png"]).captions == ("a dog",)
