"""Word vectors from files: every form gives the same, and what is malformed is named by its line."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crossgraph.core.errors import InputError
from crossgraph.text.vocabulary import SPECIALS, Vocabulary
from crossgraph.text.word_vectors import read_word_vectors

VOCABULARY = Vocabulary([*SPECIALS, "dog", "snow", "sled"])
LINES = ["the 0.5 -1 2", "dog 1 2 3", "<unk> 9 9 9", "a b 7 7 7", "snow 4 5 6", "dog 8 8 8"]


def write(folder: Path, form: str, lines: list[str] = LINES) -> Path:
    text = "\n".join(lines) + "\n"
    path = folder / f"vectors.{form}"
    if form == "gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("vectors.txt", text)
    elif form == "npy":
        np.save(path, np.array([line.split()[-3:] for line in lines], dtype=np.float16))
        (folder / "words.txt").write_text("".join(line.rsplit(" ", 3)[0] + "\n" for line in lines))
    else:
        path.write_text(("6 3\n" if form == "vec" else "") + text)
    return path


@pytest.mark.parametrize("form", ["txt", "vec", "gz", "zip", "npy"])
def test_known_words_begin_with_their_vectors_and_the_rest_keeps_its_own(tmp_path, form):
    told: list[tuple[int, int]] = []
    path = write(tmp_path, form)
    vectors = read_word_vectors(path, VOCABULARY, 3, lambda what, done, total: told.append((done, total)))
    assert (vectors.rows, vectors.vectors.tolist()) == ([4, 5], [[1, 2, 3], [4, 5, 6]])
    assert vectors.coverage == pytest.approx(2 / 3)
    assert told[-1][0] == told[-1][1]
    embedding = nn.Embedding(7, 3)
    before = embedding.weight.detach().clone()
    vectors.fill(embedding)
    assert embedding.weight[4:6].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert torch.equal(embedding.weight[[0, 1, 2, 3, 6]], before[[0, 1, 2, 3, 6]])
    assert embedding.weight.requires_grad


def test_a_folder_with_vectors_and_words_is_enough(tmp_path):
    write(tmp_path, "npy")
    assert read_word_vectors(tmp_path, VOCABULARY, 3).file == tmp_path / "vectors.npy"


def test_what_a_run_records(tmp_path):
    record = read_word_vectors(write(tmp_path, "txt"), VOCABULARY, 3).as_json()
    assert len(record.pop("sha256")) == 64
    assert record == {"file": "vectors.txt", "width": 3, "found": 2, "words": 3}


@pytest.mark.parametrize("form", ["txt", "vec", "npy"])
def test_another_width_names_both_and_the_override(tmp_path, form):
    path = write(tmp_path, form)
    with pytest.raises(
        InputError, match=r"vectors are 3 wide, model\.config\.word_size is 300: add --model\.config\.w"
    ):
        read_word_vectors(path, VOCABULARY, 300)
    with pytest.raises(InputError, match="vectors are 3 wide"):
        read_word_vectors(path, VOCABULARY, 2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cat 1 2", "line 2 has 2 values, not 3"),
        ("cat", "line 2 has 0 values, not 3"),
        ("cat 1 two 3", "line 2 holds 'two' where a number is wanted"),
        ("cat 1 nan 3", "line 2 holds NaN or infinity"),
        ("cat 1 1e99 3", "line 2 holds NaN or infinity"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(tmp_path, line, words):
    path = write(tmp_path, "txt", [LINES[0], line, *LINES[1:]])
    with pytest.raises(InputError) as caught:
        read_word_vectors(path, VOCABULARY, 3)
    assert caught.value.problem == f"{path}: {words}"


def test_a_line_that_is_no_utf_8_is_named(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_bytes(b"dog 1 2 3\ncaf\xe9 1 2 3\n")
    with pytest.raises(InputError, match="line 2 is not UTF-8"):
        read_word_vectors(path, VOCABULARY, 3)


def test_a_file_of_none_of_the_words_is_refused(tmp_path):
    with pytest.raises(InputError, match="has none of the 3 words of the vocabulary"):
        read_word_vectors(write(tmp_path, "txt", ["chien 1 2 3"]), VOCABULARY, 3)


def test_a_first_line_of_words_is_no_matter_of_width(tmp_path):
    with pytest.raises(InputError, match="line 1 has 2 values, not 3"):
        read_word_vectors(write(tmp_path, "txt", ["a red cap"]), VOCABULARY, 3)


def missing(folder: Path) -> Path:
    return folder / "none.txt"


def empty(folder: Path) -> Path:
    (folder / "empty.txt").write_text("")
    return folder / "empty.txt"


def no_gzip(folder: Path) -> Path:
    (folder / "bad.gz").write_bytes(b"plain")
    return folder / "bad.gz"


def torn_gzip(folder: Path) -> Path:
    path = write(folder, "gz")
    path.write_bytes(path.read_bytes()[:-12])
    return path


def no_zip(folder: Path) -> Path:
    (folder / "bad.zip").write_bytes(b"plain")
    return folder / "bad.zip"


def two_in_a_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        archive.writestr("a.txt", "dog 1 2 3"), archive.writestr("b.txt", "dog 1 2 3")
    return folder / "two.zip"


def torn_array(folder: Path) -> Path:
    path = write(folder, "npy")
    path.write_bytes(path.read_bytes()[:-4])
    return path


def pickled_array(folder: Path) -> Path:
    np.save(folder / "vectors.npy", np.array([{}], dtype=object), allow_pickle=True)
    return folder / "vectors.npy"


def whole_numbers(folder: Path) -> Path:
    np.save(folder / "vectors.npy", np.zeros((2, 3), dtype=np.int64))
    return folder / "vectors.npy"


def no_words(folder: Path) -> Path:
    path = write(folder, "npy")
    (folder / "words.txt").unlink()
    return path


def fewer_words(folder: Path) -> Path:
    path = write(folder, "npy")
    (folder / "words.txt").write_text("dog\n")
    return path


@pytest.mark.parametrize(
    "spoil",
    [
        *(missing, empty, no_gzip, torn_gzip, no_zip, two_in_a_zip),
        *(torn_array, pickled_array, whole_numbers, no_words, fewer_words),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_with_its_name(tmp_path, spoil):
    path = spoil(tmp_path)
    with pytest.raises(InputError) as caught:
        read_word_vectors(path, VOCABULARY, 3)
    assert str(path.parent) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.shared
def test_the_cut_of_glove_covers_everyday_words(shared):
    vocabulary = Vocabulary([*SPECIALS, "dog", "bicycle", "snow", "qwxz"])
    vectors = read_word_vectors(shared / "models" / "glove_6b_50d", vocabulary, 50)
    assert vectors.rows == [4, 5, 6]
    dog, bicycle, snow = torch.from_numpy(vectors.vectors)
    assert torch.cosine_similarity(dog, bicycle, dim=0) > torch.cosine_similarity(bicycle, snow, dim=0)
