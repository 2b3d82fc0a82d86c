"""A vocabulary is read as published or built the same way every time, and says what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossgraph.core.errors import InputError
from crossgraph.text.packing import PackedCaptions, collate
from crossgraph.text.vocabulary import SPECIALS, Vocabulary

CAPTIONS = ["A dog runs.", "a dog and a cat", "The dog sleeps", "dog, cat, dog"]


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(CAPTIONS, minimum=2)


def test_building_keeps_words_by_count_then_alphabet(vocabulary: Vocabulary) -> None:
    assert vocabulary.words == [*SPECIALS, "dog", "a", ",", "cat"]
    assert Vocabulary.build(reversed(CAPTIONS), minimum=2).words == vocabulary.words


def test_a_word_needs_four_occurrences_by_default() -> None:
    assert Vocabulary.build(["dog dog dog cat cat cat", "dog"]).words == [*SPECIALS, "dog"]
    with pytest.raises(InputError, match="no word of these captions occurs 4 times: lower the minimum"):
        Vocabulary.build(["one caption"])


def test_encoding_wraps_looks_up_and_reports_unknown_words(vocabulary: Vocabulary) -> None:
    encoded = vocabulary.encode("A Zebra, dog")
    assert [vocabulary.words[row] for row in encoded.ids] == ["<start>", "a", "<unk>", ",", "dog", "<end>"]
    assert encoded.offsets == [(0, 0), (0, 1), (2, 7), (7, 8), (9, 12), (0, 0)]
    assert encoded.unknown == ["zebra"]
    assert vocabulary.row("zebra") == 3 and "zebra" not in vocabulary and "dog" in vocabulary


def test_specials_cannot_be_written_in_a_caption(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode("<end>").ids == [1, 3, 3, 3, 2]


def test_saving_and_loading_gives_the_same(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded.words == vocabulary.words and loaded.fingerprint() == vocabulary.fingerprint()
    assert set(json.loads((tmp_path / "v.json").read_text())) == {"word2idx", "idx2word", "idx"}


def test_extending_keeps_the_old_rows(vocabulary: Vocabulary) -> None:
    longer = vocabulary.extend(["a horse, a horse"], minimum=2)
    assert longer.words == [*vocabulary.words, "horse"]
    assert longer.fingerprint() != vocabulary.fingerprint()


def test_specials_of_a_loaded_file_are_found_by_name(tmp_path: Path) -> None:
    words = ["dog", "<unk>", "<end>", "<start>", "<pad>"]
    value = {
        "word2idx": {w: i for i, w in enumerate(words)},
        "idx2word": {str(i): w for i, w in enumerate(words)},
        "idx": 5,
    }
    (tmp_path / "v.json").write_text(json.dumps(value))
    assert Vocabulary.load(tmp_path / "v.json").encode("dog cat").ids == [3, 0, 1, 2]


GOOD = {
    "word2idx": {w: i for i, w in enumerate(SPECIALS)},
    "idx2word": {str(i): w for i, w in enumerate(SPECIALS)},
    "idx": 4,
}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "no 'word2idx'"),
        ({"word2idx": 3}, "no 'word2idx'"),
        (GOOD | {"word2idx": {**GOOD["word2idx"], "dog": 7}}, "row 7 of 'dog' in a file of 5 words leaves a gap"),
        (GOOD | {"word2idx": {**GOOD["word2idx"], "dog": 3}}, "'<unk>' and 'dog' share row 3"),
        (GOOD | {"word2idx": {**GOOD["word2idx"], "dog": "4"}}, "row '4' of 'dog' is not a count"),
        (GOOD | {"word2idx": {**GOOD["word2idx"], "dog": -1}}, "row -1 of 'dog'"),
        (GOOD | {"idx2word": {}}, "'idx2word' has not the 4 entries"),
        (GOOD | {"idx2word": {**GOOD["idx2word"], "3": "dog"}}, "row 3 is '<unk>' in 'word2idx', 'dog' in 'idx2word'"),
        (GOOD | {"idx": 9}, "'idx' is 9, not 4"),
        ({"word2idx": {"dog": 0}, "idx2word": {"0": "dog"}, "idx": 1}, "no <pad>, <start>, <end>, <unk>"),
    ],
)
def test_a_strange_file_is_one_line_that_names_it(tmp_path: Path, value: object, message: str) -> None:
    (tmp_path / "v.json").write_text(json.dumps(value))
    with pytest.raises(InputError) as caught:
        Vocabulary.load(tmp_path / "v.json")
    assert message in str(caught.value) and str(caught.value).startswith(f"{tmp_path / 'v.json'}: ")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"{", b'{"word2idx": '])
def test_what_is_no_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(InputError, match=r"v\.json: "):
        Vocabulary.load(tmp_path / "v.json")


@pytest.mark.parametrize(("name", "size"), [("f30k", "8,481"), ("coco", "11,353")])
def test_an_unusual_size_under_a_published_name_warns(
    vocabulary: Vocabulary, tmp_path: Path, name: str, size: str
) -> None:
    path = tmp_path / f"{name}_precomp_vocab.json"
    vocabulary.save(path)
    with pytest.warns(UserWarning, match=f"8 words, the published {name} vocabulary has {size}"):
        Vocabulary.load(path)


def test_words_read_as_bytes_warn(tmp_path: Path) -> None:
    Vocabulary([*SPECIALS, "b'a", "b'the"]).save(tmp_path / "v.json")
    with pytest.warns(UserWarning, match="captions were read as bytes"):
        Vocabulary.load(tmp_path / "v.json")


def test_collating_pads_on_the_right(vocabulary: Vocabulary) -> None:
    tokens = collate([vocabulary.encode("dog"), vocabulary.encode("a cat")], edges=[[], [(2, 1)]])
    assert tokens.ids.tolist() == [[1, 4, 2, 0], [1, 5, 7, 2]]
    assert tokens.lengths.tolist() == [3, 4]
    assert tokens.offsets is not None and tokens.offsets[1].tolist() == [[0, 0], [0, 1], [2, 5], [0, 0]]
    assert tokens.edges is not None and tokens.edges.tolist() == [[[-1, -1]], [[2, 1]]]
    with pytest.raises(ValueError, match="no caption"):
        collate([])


def test_packed_captions_give_the_same_batches(vocabulary: Vocabulary) -> None:
    captions = [*CAPTIONS, "", "zebra"]
    edges = [[(1, 2)], [], [], [], [], []]
    packed = PackedCaptions(vocabulary, captions, edges)
    rows = [3, 0, 5, 4, 0]
    mine = packed.tokens(rows)
    theirs = collate([vocabulary.encode(captions[row]) for row in rows], [edges[row] for row in rows])
    for name in ("ids", "lengths", "offsets", "edges"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    words = sum(len(vocabulary.encode(caption).ids) - 2 for caption in captions)
    assert packed.unknown_share == pytest.approx(sum(len(vocabulary.encode(c).unknown) for c in captions) / words)
