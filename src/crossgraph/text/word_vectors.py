"""Published word vectors (GloVe, fastText, word2vec as text) as initial values of learned embeddings.

text      a word and its values a line, also in .gz or a .zip of one file; a first line "COUNT WIDTH" is skipped
array     vectors.npy (words, width) with words.txt beside it, a word a line; name the .npy or their folder
"""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from crossgraph.core.errors import InputError
from crossgraph.files import read_text, sha256
from crossgraph.progress import ProgressCallback, ignore_progress
from crossgraph.text.vocabulary import SPECIALS, Vocabulary

_REMEDY = "give GloVe's text format (a word and its values a line), or vectors.npy with words.txt beside it"
_BLOCK = 1000  # lines read at once


@dataclass(frozen=True)
class WordVectors:
    """Vectors of a vocabulary's words, where the file has them.

    Attributes:
        file: Their file.
        sha256: The file's digest.
        rows: Vocabulary rows.
        vectors: A vector for each row, float32 (rows, width).
        words: Number of words in the vocabulary without specials.
    """

    file: Path
    sha256: str
    rows: list[int]
    vectors: np.ndarray
    words: int

    @property
    def coverage(self) -> float:
        """Share of the vocabulary's words that have a vector."""
        return len(self.rows) / max(1, self.words)

    def fill(self, embedding: nn.Embedding) -> None:
        """Write the vectors into learned embeddings; other rows keep their values."""
        with torch.no_grad():
            embedding.weight[torch.tensor(self.rows)] = torch.from_numpy(self.vectors).to(embedding.weight)

    def as_json(self) -> dict[str, Any]:
        """Return the record of a run."""
        return {
            "file": self.file.name,
            "sha256": self.sha256,
            "width": self.vectors.shape[1],
            "found": len(self.rows),
            "words": self.words,
        }


def read_word_vectors(
    path: Path, vocabulary: Vocabulary, width: int, progress: ProgressCallback | None = None
) -> WordVectors:
    """Read the vectors of a vocabulary's words; every line of the file is checked.

    Args:
        path: The file, or a folder with vectors.npy and words.txt.
        vocabulary: The words.
        width: Size of the model's embeddings.
        progress: Progress callback.

    Raises:
        InputError: The file cannot be read, a line of it is malformed (its number is named), its vectors are not
            `width` wide, or it has none of the words.
    """
    if path.is_dir():
        path = path / "vectors.npy"
    if not path.is_file():
        raise InputError(f"{path}: no such file", _REMEDY)
    if not path.stat().st_size:
        raise InputError(f"{path}: is empty", _REMEDY)
    rows = {word: row for row, word in enumerate(vocabulary.words) if word not in SPECIALS}
    vectors: dict[int, np.ndarray] = {}
    entries = _from_array if path.suffix == ".npy" else _from_text
    for word, vector in entries(path, width, progress or ignore_progress):
        row = rows.get(word)
        if row is not None and row not in vectors:
            vectors[row] = vector
    if not vectors:
        raise InputError(f"{path}: has none of the {len(rows):,} words of the vocabulary", "is it of another language?")
    covered = sorted(vectors)
    matrix = np.stack([vectors[row] for row in covered]).astype(np.float32)
    return WordVectors(path, sha256(path), covered, matrix, len(rows))


def _from_text(path: Path, width: int, progress: ProgressCallback) -> Iterator[tuple[str, np.ndarray]]:
    size = path.stat().st_size
    with _opened(path) as (lines, position):
        numbered = enumerate(lines, start=1)
        while block := list(itertools.islice(numbered, _BLOCK)):
            if block[0][0] == 1 and _is_header(block[0][1]):
                _check_width(path, int(block[0][1].split()[1]), width)
                block = block[1:]
            block = [(number, line) for number, line in block if line.strip()]
            yield from _plain_block(block, width) or (_entry(line, number, path, width) for number, line in block)
            progress("word vectors", min(position(), size), size)
    progress("word vectors", size, size)


def _plain_block(block: list[tuple[int, bytes]], width: int) -> list[tuple[str, np.ndarray]]:
    """Return a block of plain lines, parsed at once, five times as fast; empty if any line needs `_entry`."""
    parts = [line.partition(b" ") for _, line in block]
    if any(values.count(b" ") != width - 1 for _, _, values in parts):
        return []
    try:
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            warnings.simplefilter("error", DeprecationWarning)  # what numpy says of text that is no number
            text = b" ".join(values.strip() for _, _, values in parts).decode("ascii")
            values = np.fromstring(text, dtype=np.float64, sep=" ").astype(np.float32)
        words = [word.decode("utf-8") for word, _, _ in parts]
    except (ValueError, DeprecationWarning):
        return []
    if values.size != width * len(words) or not np.isfinite(values).all():
        return []
    return list(zip(words, values.reshape(-1, width), strict=True))


def _entry(line: bytes, number: int, path: Path, width: int) -> tuple[str, np.ndarray]:
    """Return the word and vector of a line; the values are its last `width` fields, since a word may have spaces."""
    try:
        fields = line.decode("utf-8").rstrip("\r\n\t ").replace("\t", " ").split(" ")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: line {number} is not UTF-8", _REMEDY) from error
    if len(fields) <= width:
        if number == 1 and len(fields) > 2 and _numbers(fields[1:]) is not None:
            _check_width(path, len(fields) - 1, width)
        raise InputError(f"{path}: line {number} has {max(0, len(fields) - 1)} values, not {width}", _REMEDY)
    if number == 1 and _numbers(fields[1:]) is not None:
        _check_width(path, len(fields) - 1, width)
    vector = _numbers(fields[-width:])
    if vector is None:
        shown = next((field for field in fields[-width:] if _numbers([field]) is None), "")
        raise InputError(f"{path}: line {number} holds '{shown[:40]}' where a number is wanted", _REMEDY)
    if not np.isfinite(vector).all():
        raise InputError(f"{path}: line {number} holds NaN or infinity", _REMEDY)
    return " ".join(fields[:-width]), vector


def _numbers(fields: list[str]) -> np.ndarray | None:
    try:
        with np.errstate(over="ignore"):
            return np.array(fields, dtype=np.float64).astype(np.float32)
    except ValueError:
        return None


def _is_header(line: bytes) -> bool:
    fields = line.split()
    return len(fields) == 2 and all(field.isdigit() for field in fields)


def _from_array(path: Path, width: int, progress: ProgressCallback) -> Iterator[tuple[str, np.ndarray]]:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not an array ({' '.join(str(error).split())[:100]})", _REMEDY) from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"{path}: shape {vectors.shape} of {vectors.dtype}, not (words, width) of numbers", _REMEDY)
    _check_width(path, vectors.shape[1], width)
    list_path = path.with_name("words.txt")
    words = read_text(list_path, "it names the rows of the array: put it there").split("\n")
    words = words[:-1] if words and not words[-1] else words
    if len(words) != len(vectors):
        raise InputError(f"{list_path}: {len(words):,} lines for {len(vectors):,} rows of {path.name}", _REMEDY)
    for start in range(0, len(words), 4096):
        with np.errstate(over="ignore"):
            block = np.asarray(vectors[start : start + 4096], dtype=np.float32)
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            raise InputError(f"{path}: row {start + int(bad.argmax())} holds NaN or infinity", _REMEDY)
        for offset, vector in enumerate(block):
            yield words[start + offset].rstrip("\r"), vector
        progress("word vectors", min(start + 4096, len(words)), len(words))


def _check_width(path: Path, actual: int, expected: int) -> None:
    if actual != expected:
        raise InputError(
            f"{path}: vectors are {actual} wide, model.config.word_size is {expected}",
            f"add --model.config.word_size={actual}",
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Iterator[bytes], Callable[[], int]]]:
    """Open a text file, compressed or not; yield its lines and a function that returns the bytes read so far."""
    try:
        with path.open("rb") as raw, contextlib.ExitStack() as open_files:
            stream: Any = raw
            if path.suffix == ".gz":
                stream = open_files.enter_context(gzip.GzipFile(fileobj=raw))
            elif path.suffix == ".zip":
                archive = open_files.enter_context(zipfile.ZipFile(raw))
                names = [name for name in archive.namelist() if not name.endswith("/")]
                if len(names) != 1:
                    shown = f"holds {len(names)} files ({', '.join(names[:3])})" if names else "holds no file"
                    raise InputError(f"{path}: {shown}", "unpack the one that fits and give its path")
                stream = open_files.enter_context(archive.open(names[0]))
            yield iter(io.BufferedReader(stream) if path.suffix == ".zip" else stream), raw.tell
    except (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())[:100]})", "get the file again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})", "check its permissions") from error
