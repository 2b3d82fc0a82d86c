"""A pickled vocabulary is read; a pickle that wants anything else is refused before it runs."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.text.pickled_vocabulary import is_pickle, load_pickled

WORDS = ["<pad>", "<start>", "<end>", "<unk>", "dog", "naïve"]


class Vocabulary:
    """The authors' class, as its pickle names it."""

    def __init__(self):
        self.word2idx = {word: row for row, word in enumerate(WORDS)}
        self.idx2word = dict(enumerate(WORDS))
        self.idx = len(WORDS)


@pytest.fixture(autouse=True)
def their_module(monkeypatch):
    """Let pickle find the class under the authors' module while it writes."""
    module = types.ModuleType("vocab")
    monkeypatch.setattr(Vocabulary, "__module__", "vocab")
    module.Vocabulary = Vocabulary
    monkeypatch.setitem(sys.modules, "vocab", module)


def written(tmp_path: Path, content: bytes, name: str = "vocab.pkl") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_an_object_of_their_class_and_a_dict_are_read(tmp_path, protocol):
    for value in (Vocabulary(), vars(Vocabulary())):
        path = written(tmp_path, pickle.dumps(value, protocol))
        assert is_pickle(path)
        assert load_pickled(path).words == WORDS


def test_what_python_2_wrote_is_read(tmp_path):
    """An old-style instance whose words are byte strings: the INST and STRING codes."""
    entries = b"".join(b"S'%s'\nI%d\ns" % (word.encode(), row) for row, word in enumerate(WORDS[:5]))
    inverse = b"".join(b"I%d\nS'%s'\ns" % (row, word.encode()) for row, word in enumerate(WORDS[:5]))
    content = b"(ivocab\nVocabulary\n(dS'word2idx'\n(d" + entries + b"sS'idx2word'\n(d" + inverse + b"sS'idx'\nI5\nsb."
    assert load_pickled(written(tmp_path, content)).words == WORDS[:5]


class Runs:
    """Calls something when unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place", ["whole", "entry", "word"])
def test_a_malicious_pickle_runs_nothing(tmp_path, protocol, place):
    victim = tmp_path / "made-by-pickle"
    evil = Runs(open, str(victim), "w")
    value = {"whole": evil, "entry": {**vars(Vocabulary()), "extra": evil}, "word": {"word2idx": {"dog": evil}}}[place]
    path = written(tmp_path, pickle.dumps(value, protocol))
    with pytest.raises(
        InputError, match=r"vocab.pkl: refused, it asks for (_?io|builtins|__builtin__)\.open"
    ) as caught:
        load_pickled(path)
    assert not victim.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.", "builtins.getattr"),
        (b"ccopy_reg\n_reconstructor\n(ccollections\nOrderedDict\nc__builtin__\nobject\nNtR.", "OrderedDict"),
        (b"\x80\x02\x82\x01.", "not a readable pickle"),  # an extension code
        (b"Pelsewhere\n.", "an object outside the file"),
        (b"ccopy_reg\n_reconstructor\n(ccopy_reg\n_reconstructor\nc__builtin__\nobject\nNtR.", "another class"),
        (pickle.dumps(vars(Vocabulary()))[:-20], "not a readable pickle"),
        (b"", "not a readable pickle"),
        (b"hello", "not a readable pickle"),
        (pickle.dumps([1, 2]), "holds one list"),
        (pickle.dumps({"words": 1}), "'word2idx' does not map"),
        (pickle.dumps({"word2idx": {"a": 0.5}, "idx2word": {0: "a"}}), "'word2idx' does not map"),
        (pickle.dumps({"word2idx": {"a": 0}, "idx2word": {"0": "a"}}), "'idx2word' does not map"),
        (pickle.dumps({"word2idx": {"a": 0}, "idx2word": {0: "a"}}), "no <pad>"),
        (pickle.dumps({"word2idx": {"a": 4}, "idx2word": {4: "a"}}), "leaves a gap"),
    ],
)
def test_whatever_else_stands_in_it_is_one_line(tmp_path, content, words):
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=words) as caught:
        load_pickled(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    (tmp_path / "folder.pkl").mkdir()
    for path in (tmp_path / "nothing.pkl", tmp_path / "folder.pkl"):
        with pytest.raises(InputError, match="cannot be read"):
            load_pickled(path)


def test_json_is_told_from_a_pickle(tmp_path):
    assert not is_pickle(written(tmp_path, b'{"word2idx": {}}', "vocab.json"))
    assert is_pickle(written(tmp_path, pickle.dumps({}, 2), "vocab"))
    assert not is_pickle(tmp_path / "nothing")
