"""Vocabulary of a pretrained model's word pieces.

The interface is `Vocabulary`'s: captions become rows with character offsets, "<start>" first and "<end>" last.
Those two, "<pad>" and "<unk>" are names of the tokenizer's own special tokens ("[CLS]", "<s>", ...). One word may
become several tokens, each with the offsets of its own characters: the pieces of a word are consecutive tokens without
white space between them in the caption.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_json, write_json
from crossgraph.pretrained import INSTALL, read_config
from crossgraph.text.vocabulary import END, PAD, START, UNKNOWN, EncodedCaption, Vocabulary

_FORMAT = "word pieces"
_REMEDY = "write it with AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")


class PieceVocabulary(Vocabulary):
    """A vocabulary of word pieces.

    Args:
        tokenizer: The content of a `tokenizer.json`.
        longest: Tokens that the model reads at most, the first and the last included; later ones are cut off.
        source: Its file, for messages.

    Attributes:
        words: The pieces as the tokenizer writes them, by row.

    Raises:
        InputError: The package `tokenizers` is not installed, the content is no tokenizer, or one that adds
            no tokens before and after a sentence.
    """

    def __init__(self, tokenizer: dict[str, Any], longest: int, source: str = "vocabulary") -> None:
        self._tokenizer, self._json, self.longest = _build(tokenizer, source), tokenizer, longest
        pieces = {row: piece for piece, row in self._tokenizer.get_vocab(with_added_tokens=True).items()}
        self.words = [pieces.get(row, f"<unused {row}>") for row in range(max(pieces, default=-1) + 1)]
        self._rows = {piece: row for row, piece in pieces.items()}
        sample = self._tokenizer.encode("a")
        if len(sample.ids) < 2 or not (sample.special_tokens_mask[0] and sample.special_tokens_mask[-1]):
            raise InputError(f"{source}: puts no tokens before and after a sentence", "take an encoder's tokenizer")
        self._start, self._end = sample.ids[0], sample.ids[-1]
        known = tokenizer.get("model", {})
        unknown = self._rows.get(known.get("unk_token") or "", known.get("unk_id"))
        self._has_unknown = unknown is not None and unknown not in (self._start, self._end)
        masks = (self._rows[name] for name in ("[MASK]", "<mask>") if name in self._rows)
        self._unknown = unknown if unknown is not None else next(masks, self._end)
        self._specials = {PAD: 0, START: self._start, END: self._end, UNKNOWN: self._unknown}

    @classmethod
    def of_model(cls, folder: Path) -> PieceVocabulary:
        """Read the tokenizer of a pretrained model.

        Raises:
            InputError: The folder has no `tokenizer.json`, or one that cannot be used.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise InputError(f"{folder}: has no tokenizer.json", _REMEDY)
        return cls(_object(path), _longest(read_config(folder)), str(path))

    @classmethod
    def load(cls, path: Path | str) -> PieceVocabulary:
        """Read what `save` wrote.

        Raises:
            InputError: It is something else.
        """
        value = _object(Path(path))
        if value.get("format") != _FORMAT or not isinstance(value.get("longest"), int):
            raise InputError(f"{path}: holds no word pieces", "make the run again")
        return cls(value.get("tokenizer", {}), value["longest"], str(path))

    def save(self, path: Path | str) -> None:
        """Write the whole tokenizer, so that the model's folder is no longer needed."""
        write_json(path, {"format": _FORMAT, "longest": self.longest, "tokenizer": self._json})

    def extend(self, captions: Iterable[str], minimum: int = 4) -> PieceVocabulary:
        """Return itself: pieces can spell every word."""
        return self

    def row(self, word: str) -> int:
        """Return the row of a piece, or of a special by the name it has in all vocabularies."""
        return self._specials.get(word, self._rows.get(word, self._unknown))

    def encode(self, caption: str) -> EncodedCaption:
        """Return a caption as pieces, between the start and the end token."""
        encoding = self._tokenizer.encode(caption.encode("utf-8", "replace").decode("utf-8"))
        cut = len(encoding.ids) if len(encoding.ids) <= self.longest else self.longest - 1
        marks = list(zip(encoding.ids[:cut], encoding.offsets[:cut], encoding.special_tokens_mask[:cut], strict=True))
        if cut < len(encoding.ids):
            marks.append((self._end, (0, 0), 1))
        offsets = [(0, 0) if special else (start, end) for _, (start, end), special in marks]
        ids = [row for row, _, _ in marks]
        missed = [self._has_unknown and row == self._unknown and not special for row, _, special in marks]
        words = [caption[start:end].lower() for (start, end), miss in zip(offsets, missed, strict=True) if miss]
        return EncodedCaption(ids, offsets, words)

    def fingerprint(self) -> str:
        """Return a hexadecimal digest of the tokenizer."""
        content = json.dumps([self._json, self.longest], sort_keys=True)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    def __contains__(self, word: object) -> bool:
        """Return whether a piece has a row of its own."""
        return word in self._rows or word in self._specials

    def __reduce__(self) -> tuple[type[PieceVocabulary], tuple[dict[str, Any], int]]:
        """Pickle the tokenizer's content, to send it to other processes."""
        return type(self), (self._json, self.longest)


def load_vocabulary(path: Path) -> Vocabulary:
    """Read a run's `vocabulary.json`, of words or of word pieces.

    Raises:
        InputError: It is neither.
    """
    value = read_json(path, "make the run again")
    pieces = isinstance(value, dict) and value.get("format") == _FORMAT
    return PieceVocabulary.load(path) if pieces else Vocabulary.load(path)


def _build(content: dict[str, Any], source: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise InputError(f"{source}: the package tokenizers is not installed", INSTALL) from error
    try:
        tokenizer = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # what tokenizers raises has no class of its own
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{source}: not a tokenizer ({reason})", _REMEDY) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a tokenizer", _REMEDY)
    return value


def _longest(config: dict[str, Any]) -> int:
    """Return the number of tokens for which a model has positions."""
    config = config.get("text_config", config)
    positions = config.get("max_position_embeddings", 512)
    if not isinstance(positions, int) or positions < 4:
        positions = 512
    return positions - 2 if config.get("model_type") in _POSITIONS_AFTER_PADDING else positions
