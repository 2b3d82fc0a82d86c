"""Words are NLTK's, offsets point into the caption as written, and no string makes it fail."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.text.tokenizer import sentences, tokenize
from crossgraph.text.vocabulary import Vocabulary


def texts(caption: str) -> list[str]:
    return [word.text for word in tokenize(caption)]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man rides.", ["a", "man", "rides", "."]),
        ("A man. A dog", ["a", "man", ".", "a", "dog"]),
        ("The St. Bernard in the U.S. sleeps.", ["the", "st.", "bernard", "in", "the", "u.s.", "sleeps", "."]),
        ("Bus no. 7 at 10.30 a.m. here", ["bus", "no", ".", "7", "at", "10.30", "a.m.", "here"]),
        ("The ball's red, isn't it?", ["the", "ball", "'s", "red", ",", "is", "n't", "it", "?"]),
        ('A sign says "STOP." ok', ["a", "sign", "says", "``", "stop", ".", "''", "ok"]),
        ("a sign says ''stop''", ["a", "sign", "says", "``", "stop", "''"]),
        ("two (black) dogs...", ["two", "(", "black", ")", "dogs", "..."]),
        ("I cannot.\n", ["i", "can", "not", "."]),
        ("man\tand   wife", ["man", "and", "wife"]),
        ("", []),
        ("  \n", []),
    ],
)
def test_words(caption: str, words: list[str]) -> None:
    assert texts(caption) == words


def test_offsets_point_into_the_caption_as_written() -> None:
    caption = 'The man. "Stop!"'
    assert [caption[word.start : word.end] for word in tokenize(caption)] == ["The", "man", ".", '"', "Stop", "!", '"']


def test_a_letter_that_grows_when_lowered_does_not_shift_the_offsets() -> None:
    caption = "İstanbul İİ dog"
    assert [caption[word.start : word.end] for word in tokenize(caption)] == ["İstanbul", "İİ", "dog"]


@given(st.text(alphabet=st.one_of(st.sampled_from(list("aİΣst.u \"'`?!)(-,:7\n")), st.characters()), max_size=40))
def test_any_string_gives_ordered_offsets_whose_text_is_the_word(caption: str) -> None:
    end = 0
    for word in tokenize(caption):
        assert end <= word.start < word.end <= len(caption)
        end = word.end
        written = caption[word.start : word.end]
        assert (
            written == '"'
            or word.text in ("``", "''")
            or written.lower().replace("ς", "σ") == word.text.replace("ς", "σ")
        )


@given(st.text(alphabet=st.one_of(st.sampled_from(list("a.u \"'?!)7")), st.characters()), max_size=40))
def test_nothing_but_white_space_is_lost(caption: str) -> None:
    kept = "".join(caption[word.start : word.end] for word in tokenize(caption))
    assert kept == "".join(caption.split())


def test_sentences_leave_abbreviations_numbers_and_initials_whole() -> None:
    text = "mr. t. has 7. one? two! done. end"
    assert [text[start:end] for start, end in sentences(text)] == ["mr. t. has 7. one?", "two!", "done.", "end"]


def test_a_very_long_caption_is_no_trouble() -> None:
    assert len(tokenize('a man. "x" ' * 3000)) == 18000


def test_ids_equal_the_published_loaders(goldens: Path) -> None:
    folder = goldens / "sgraf" / "dataset"
    vocabulary = Vocabulary.load(folder / "vocab" / "tiny_precomp_vocab.json")
    expected = np.load(folder / "expected.npz")
    captions = (folder / "tiny_precomp" / "test_caps.txt").read_text(encoding="utf-8").splitlines()
    for caption, row, length in zip(captions, expected["tokens"], expected["token_lengths"], strict=True):
        assert vocabulary.encode(caption).ids == row[:length].tolist()


# All that NLTK's own English sentence splitter leaves on these 25,014 captions, checked once against it.
GLUED = """
    ground.a river.a bigelow.taken 11.01.2009 w. parked.a street.a ave. st. wings.l u.s.a t.v d.v.d .neck ft.
    board.cabbage carriage.on .hit sidewalk.outside u.s. i. case.next stair.s 10.14 a.
"""


@pytest.mark.shared
def test_no_caption_of_coco_keeps_a_full_stop_that_nltk_would_split(shared: Path) -> None:
    path = shared / "data" / "coco-val2017-captions" / "captions_val2017.json"
    captions = [entry["caption"] for entry in json.loads(path.read_text())["annotations"]]
    words = {word for caption in captions if "." in caption.strip()[:-1] for word in texts(caption)}
    assert {word for word in words if re.search(r"\.", word) and word.strip(".")} == set(GLUED.split())
