"""Tokenizer of captions to the words of the published vocabularies, with character offsets.

The words are those of NLTK's `word_tokenize` on the lower-cased caption: its Treebank-style word
tokenizer after a split into sentences, so that a full stop inside ("a man. a dog") is separated from its word too.
NLTK's own sentence splitter needs a downloaded model; the small one here knows the abbreviations of captions.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from nltk.tokenize.destructive import NLTKWordTokenizer

# Words before a full stop that ends no sentence. NLTK's English model knows these (and single
# letters and numbers before a word) and splits all others ("blvd.", "t.v."); so did every published vocabulary.
_KNOWN = """
    a.m p.m d.c l.a n.c n.j n.y ph.d u.k u.n u.s u.s.a adm ariz aug ave bros calif co col colo corp ct dec dr feb fla
    fri ft ga gen inc jan jr ky lt ltd messrs mich minn mr mrs ms nov oct okla pa prof rep reps sen sep sept sr st
    tenn tues va vs vt wash wed wis yr c d e f g h k l m n p r s t v w
"""
_ABBREVIATIONS = frozenset(_KNOWN.split())
_SENTENCE_END = re.compile(r"[.?!](?:[\"'”’»)\]}]*(?:\s+|$)|(?=[\"'()\[\]{}]))")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")
_QUOTES = ("``", "''")


class Word(NamedTuple):
    """A token of a caption.

    Attributes:
        text: Lower-cased; a double quote reads as two backticks or two apostrophes, as NLTK writes it.
        start: Its first character in the caption.
        end: The character after its last one.
    """

    text: str
    start: int
    end: int


def tokenize(caption: str) -> list[Word]:
    """Split a caption into lower-cased words; never fails, whatever the string contains."""
    return list(_tokenized(caption))


@functools.lru_cache(maxsize=8192)  # an evaluation tokenizes each caption several times
def _tokenized(caption: str) -> tuple[Word, ...]:
    lowered = caption.lower()
    origin = _origins(caption) if len(lowered) != len(caption) else range(len(caption))
    words: list[Word] = []
    for start, end in sentences(lowered):
        for text, first, last in _sentence_words(lowered[start:end]):
            words.append(Word(text, origin[start + first], origin[start + last - 1] + 1))
    return tuple(words)


def sentences(text: str) -> list[tuple[int, int]]:
    """Return [start, end) of the sentences of lower-cased text, without the white space around them.

    A sentence ends at a full stop, question or exclamation mark, closing quotes and brackets included,
    unless an abbreviation stands before the full stop, or an initial or number with a word after it.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for end in [match.end() for match in _SENTENCE_END.finditer(text) if _ends_sentence(text, match)] + [len(text)]:
        part = text[start:end]
        if stripped := part.strip():
            first = start + len(part) - len(part.lstrip())
            spans.append((first, first + len(stripped)))
        start = end
    return spans


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    stop = match.start()
    if text[stop] != ".":
        return True
    begin = max(text.rfind(space, 0, stop) for space in " \t\n") + 1
    word = text[begin:stop].lstrip("\"'`“‘«([{").rpartition("-")[2]
    if word in _ABBREVIATIONS:
        return False
    continues = text[stop + 1 : stop + 2].isspace() and text[match.end() : match.end() + 1].isalpha()
    return not (continues and ((len(word) == 1 and word.isalpha()) or _NUMBER.fullmatch(word)))


def _sentence_words(sentence: str) -> list[tuple[str, int, int]]:
    """Return NLTK's tokens with their positions in the sentence."""
    try:
        spans = _align(_nltk().tokenize(sentence), sentence)
    except TimeoutError:  # NLTK's guard against texts that keep its patterns busy for seconds
        spans = None
    if spans is None:
        return [(match.group(), match.start(), match.end()) for match in re.finditer(r"\S+", sentence)]
    return spans


def _align(tokens: list[str], text: str) -> list[tuple[str, int, int]] | None:
    """Return tokens with their positions: NLTK only adds white space and rewrites double quotes as two characters."""
    spans: list[tuple[str, int, int]] = []
    position = 0
    for token in tokens:
        while position < len(text) and text[position].isspace():
            position += 1
        if token in _QUOTES and text.startswith('"', position):
            length = 1
        elif text.startswith(token, position) or (token in _QUOTES and text.startswith(_QUOTES, position)):
            length = len(token)
        else:
            return None
        spans.append((token, position, position + length))
        position += length
    return spans if not text[position:].strip() else None


def _origins(caption: str) -> list[int]:
    """Return the caption's index of every character of the lower-cased caption ("İ" becomes two)."""
    return [position for position, character in enumerate(caption) for _ in character.lower()]


@functools.cache
def _nltk() -> NLTKWordTokenizer:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()
