"""Vocabulary: rows of words, loaded from a published file or built from captions."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_json, write_json
from crossgraph.text.dependencies import Edges, SentenceParser
from crossgraph.text.tokenizer import tokenize

PAD, START, END, UNKNOWN = SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")
PUBLISHED_SIZES = {"f30k": 8481, "coco": 11353}
_REMEDY = "use the file published with the checkpoint, or build one from your captions"


@dataclass(frozen=True)
class EncodedCaption:
    """A caption as vocabulary rows.

    Attributes:
        ids: Rows, `<start>` first, `<end>` last.
        offsets: [start, end) of each token in the caption, in characters; (0, 0) for the two specials.
        unknown: Words that the vocabulary lacks, in order.
        parse: Returns the dependency edges, if the vocabulary has a parser; called only when they are needed.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    unknown: list[str]
    parse: Callable[[], Edges] | None = field(default=None, compare=False, repr=False)

    @property
    def has_known_word(self) -> bool:
        """Whether the vocabulary has a word of the caption, the two specials apart."""
        return len(self.unknown) < len(self.ids) - 2


class Vocabulary:
    """Words by row.

    Args:
        words: The words by row, including `<pad>`, `<start>`, `<end>` and `<unk>`.

    Attributes:
        parser: Makes the dependency edges of encoded captions; None where the model needs none.

    Raises:
        InputError: A word occurs twice, or a special is missing.
    """

    parser: SentenceParser | None = None

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._rows = {word: row for row, word in enumerate(self.words)}
        if len(self._rows) != len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise InputError(f"vocabulary: '{twice}' stands twice", _REMEDY)
        if missing := [special for special in SPECIALS if special not in self._rows]:
            raise InputError(f"vocabulary: no {', '.join(missing)}", _REMEDY)
        self._start, self._end, self._unknown = (self._rows[special] for special in (START, END, UNKNOWN))

    @classmethod
    def load(cls, path: Path | str) -> Vocabulary:
        """Read a vocabulary file in the layout of all published code: `word2idx`, `idx2word`, `idx`.

        Warns when the file's name says Flickr30K or COCO and its size is not the published one.

        Raises:
            InputError: It is not such a file, or its rows have gaps or contradict each other.
        """
        path = Path(path)
        return cls.from_values(read_json(path, _REMEDY), path)

    @classmethod
    def from_values(cls, values: Any, path: Path) -> Vocabulary:
        """Build a vocabulary from a file's content: `word2idx`, `idx2word` (rows as text) and `idx`; see `load`.

        Args:
            values: The file's content.
            path: The file, for messages.

        Raises:
            InputError: It is no vocabulary, or its rows have gaps or contradict each other.
        """
        try:
            vocabulary = cls(_words(values))
        except _Malformed as error:
            raise InputError(f"{path}: not a vocabulary ({error})", _REMEDY) from error
        except InputError as error:
            if error.problem.startswith("vocabulary: "):
                raise InputError(f"{path}: {error.problem.removeprefix('vocabulary: ')}", error.remedy) from error
            raise
        for name, size in PUBLISHED_SIZES.items():
            if path.name.startswith(f"{name}_") and len(vocabulary) != size:
                warnings.warn(
                    f"{path}: {len(vocabulary):,} words, the published {name} vocabulary has {size:,}", stacklevel=2
                )
        if sum(word.startswith(("b'", 'b"')) for word in vocabulary.words) > len(vocabulary) // 20:
            warnings.warn(f"{path}: many words begin with b', as when captions were read as bytes", stacklevel=2)
        return vocabulary

    @classmethod
    def build(cls, captions: Iterable[str], minimum: int = 4) -> Vocabulary:
        """Build a vocabulary of the words that occur at least `minimum` times, the most frequent first.

        Raises:
            InputError: No word is that frequent.
        """
        words = _frequent(captions, minimum)
        if not words:
            raise InputError(f"vocabulary: no word of these captions occurs {minimum} times", "lower the minimum count")
        return cls([*SPECIALS, *words])

    def extend(self, captions: Iterable[str], minimum: int = 4) -> Vocabulary:
        """Return a new vocabulary: the old rows as they are, then the frequent words it lacks."""
        return Vocabulary([*self.words, *(word for word in _frequent(captions, minimum) if word not in self._rows)])

    def save(self, path: Path | str) -> None:
        """Write the layout that `load` reads.

        Raises:
            InputError: The file cannot be written.
        """
        by_row = {str(row): word for row, word in enumerate(self.words)}
        write_json(path, {"word2idx": self._rows, "idx2word": by_row, "idx": len(self.words)})

    def row(self, word: str) -> int:
        """Return a word's row, that of `<unk>` when the word is unknown."""
        return self._rows.get(word, self._unknown)

    def encode(self, caption: str) -> EncodedCaption:
        """Return a caption as rows, between `<start>` and `<end>`."""
        words = tokenize(caption)
        ids = [self._start, *(self.row(word.text) for word in words), self._end]
        offsets = [(0, 0), *((word.start, word.end) for word in words), (0, 0)]
        parse = None if self.parser is None else partial(_parsed, self.parser, caption)
        return EncodedCaption(ids, offsets, [word.text for word in words if word.text not in self._rows], parse)

    def fingerprint(self) -> str:
        """Return a hexadecimal digest of the words in their order."""
        return hashlib.sha256("\0".join(self.words).encode("utf-8", "surrogatepass")).hexdigest()

    def __len__(self) -> int:
        """Return the number of rows, specials included."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Tell whether a word has a row of its own."""
        return word in self._rows


@lru_cache(maxsize=4096)
def _parsed(parser: SentenceParser, caption: str) -> Edges:
    return next(iter(parser.parse([caption])))


class _Malformed(Exception):
    """A vocabulary file is malformed; the message says how."""


def _words(value: Any) -> list[str]:
    if not isinstance(value, Mapping) or not isinstance(value.get("word2idx"), Mapping):
        raise _Malformed("no 'word2idx'")
    rows: Mapping[str, Any] = value["word2idx"]
    words: list[str | None] = [None] * len(rows)
    for word, row in rows.items():
        if not isinstance(row, int) or isinstance(row, bool) or row < 0:
            raise _Malformed(f"row {row!r} of '{word}' is not a count from 0")
        if row >= len(rows):
            raise _Malformed(f"row {row} of '{word}' in a file of {len(rows)} words leaves a gap")
        if words[row] is not None:
            raise _Malformed(f"'{words[row]}' and '{word}' share row {row}")
        words[row] = word
    inverse = value.get("idx2word", {str(row): word for word, row in rows.items()})
    if not isinstance(inverse, Mapping) or len(inverse) != len(rows):
        raise _Malformed(f"'idx2word' has not the {len(rows)} entries of 'word2idx'")
    for row, word in enumerate(words):
        if inverse.get(str(row)) != word:
            raise _Malformed(f"row {row} is '{word}' in 'word2idx', {inverse.get(str(row))!r} in 'idx2word'")
    if value.get("idx", len(rows)) != len(rows):
        raise _Malformed(f"'idx' is {value['idx']!r}, not {len(rows)}")
    return [word for word in words if word is not None]


def _frequent(captions: Iterable[str], minimum: int) -> list[str]:
    counts = Counter(word.text for caption in captions for word in tokenize(caption))
    frequent = [(word, count) for word, count in counts.items() if count >= minimum and word not in SPECIALS]
    return [word for word, _ in sorted(frequent, key=lambda item: (-item[1], item[0]))]
