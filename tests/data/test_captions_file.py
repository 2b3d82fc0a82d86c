"""Captions files: several captions in a row, lists written as text, and refusals whose remedies lose nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.data.captions_file import read_captions

TWO = ["a dog", 'it\'s a "cat", black']


def captions(folder: Path, text: str, name: str = "captions.csv", notes: list[str] | None = None) -> list[list[str]]:
    (folder / name).write_text(text)
    return [list(p.captions) for p in read_captions(folder / name, [].append if notes is None else notes.append)]


def cell(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(TWO),
        repr(TWO),
        f"[u{TWO[0]!r}, u{TWO[1]!r}]",
        str(tuple(TWO)),
        f"[{TWO[0]!r} {TWO[1]!r}]",  # as NumPy prints an array
        f"[{TWO[0]!r}\n {TWO[1]!r}]",
        f"array([{TWO[0]!r}, {TWO[1]!r}], dtype=object)",
    ],
)
def test_a_list_written_as_text_is_that_many_captions(tmp_path: Path, written: str) -> None:
    assert captions(tmp_path, f"image,raw\na.jpg,{cell(written)}\nb.jpg,a car\n") == [TWO, ["a car"]]
    assert captions(tmp_path, json.dumps({"image": "a.jpg", "caption": written}), "c.jsonl") == [TWO]
    assert captions(tmp_path, json.dumps({"image": "a.jpg", "captions": [written, "x"]}), "c.jsonl") == [[*TWO, "x"]]


@pytest.mark.parametrize(
    "written",
    [
        '["a dog", "a c',
        "['a dog' + 'b']",
        "[1, 2]",
        '["a", null]',
        "[a dog, a cat]",
        "['it''s']",
        '["a", ["b"]]',
        "[" * 5000 + "]" * 5000,
    ],
)
def test_a_list_that_is_none_of_sentences_is_refused_with_its_line(tmp_path: Path, written: str) -> None:
    with pytest.raises(InputError, match=r"line 3: the caption (begins as a list|is a list)"):
        captions(tmp_path, f"image,caption\na.jpg,a dog\nb.jpg,{cell(written)}\n")
    with pytest.raises(InputError, match=r"line 1: the caption (begins as a list|is a list)"):
        captions(tmp_path, json.dumps({"image": "b.jpg", "caption": written}), "c.jsonl")


@pytest.mark.parametrize("written", ["[laughs]", "(a dog)", "[man] a dog, running [barks]", "(left), a dog (right)"])
def test_brackets_in_a_sentence_are_text(tmp_path: Path, written: str) -> None:
    assert captions(tmp_path, f"image,caption\na.jpg,{cell(written)}\n") == [[written]]


def test_nothing_in_a_cell_is_executed(tmp_path: Path) -> None:
    written = f"[__import__('pathlib').Path({str(tmp_path / 'made')!r}).touch(), 'b']"
    with pytest.raises(InputError, match="line 2: the caption begins as a list"):
        captions(tmp_path, f"image,caption\na.jpg,{cell(written)}\n")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "header",
    ["image,caption_1,caption_2,caption_3", "image,caption1,caption2,caption3", "image,Caption 1,Caption 2,Caption 3",
     "image,caption,caption.1,caption.2", "image,caption,caption,caption"],
)  # fmt: skip
def test_numbered_columns_are_all_captions(tmp_path: Path, header: str) -> None:
    assert captions(tmp_path, f"{header}\na.jpg,one,two,three\nb.jpg,four,,\n") == [["one", "two", "three"], ["four"]]
    row = dict(zip(header.split(","), ["a.jpg", "one", "two", "three"], strict=True))
    if len(row) == 4:
        assert captions(tmp_path, json.dumps(row), "c.jsonl") == [["one", "two", "three"]]


def test_a_second_kind_of_caption_is_noted(tmp_path: Path) -> None:
    notes: list[str] = []
    text = "image,comment,caption\na.jpg,mine,a dog\nb.jpg,mine,a cat\n"
    assert captions(tmp_path, text, notes=notes) == [["a dog"], ["a cat"]]
    assert notes == [f"note: {tmp_path / 'captions.csv'}: captions are read from 'caption', not from 'comment'"]


def chat(sentence: str) -> str:
    turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": sentence}]
    return json.dumps({"file_name": "a.jpg", "conversations": turns})


@pytest.mark.parametrize(
    ("name", "text", "message", "never"),
    [
        ("c.csv", "image| comment_number| comment\na.jpg| 0| a\na.jpg| 1  a\n", "line 3 has 2 of 3 fields", "rename"),
        ("c.csv", "image,comment_number\na.jpg,0\n", r"has no 'caption' \(it has image, comment_number\)", "rename"),
        ("c.csv", "image,caption_en,caption_de\na.jpg,a,b\n", "called caption_1, caption_2; one, if", "rename"),
        ("c.csv", "image,captoin\na.jpg,a dog\n", "rename 'captoin' to 'caption'", "add"),
        ("c.jsonl", '{"image": "a.jpg", "caption": null}', "line 1: the caption is null", "rename"),
        ("c.jsonl", '{"image": "a.jpg", "caption": {"en": "a"}}', "line 1: the caption is an object", "rename"),
        ("c.jsonl", '{"image": "a.jpg", "words": [1, 2]}', r"it has image, words \(a list of 2\)", "rename"),
        ("c.jsonl", '{"image": "a.jpg", "caption": "a", "caption": "b"}', "'caption' occurs twice", "rename"),
        ("c.jsonl", chat("a dog"), "'conversations' holds the turns of a chat", "rename"),
    ],
)  # fmt: skip
def test_no_remedy_spoils_the_captions(tmp_path: Path, name: str, text: str, message: str, never: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        captions(tmp_path, text, name)
    assert never not in caught.value.remedy


def test_columns_may_be_written_large_in_json_too(tmp_path: Path) -> None:
    assert captions(tmp_path, '{"Image": "a.jpg", "Caption": "a dog"}', "c.jsonl") == [["a dog"]]
