"""Match query words with captions and file names, for searches that ask for it."""

from __future__ import annotations

from collections.abc import Sequence

from crossgraph.bundle.bundle import Bundle
from crossgraph.library.manifest import Picture
from crossgraph.pipeline.alignment import AlignedToken
from crossgraph.store.filter_tree import And, Compare, Filter, Or


def is_known(bundle: Bundle, text: str) -> bool:
    """Return whether every part of a model knows a word of a text."""
    runs = [run for run in (bundle.reranker, bundle.retriever) if run is not None]
    return all(run.vocabulary.encode(text).has_known_word for run in runs)


def word_filter(tokens: Sequence[AlignedToken], where: Filter | None) -> Filter | None:
    """Return the filter for pictures whose captions or names hold a content word; None without such a word."""
    words = content(tokens)
    if not words:
        return None
    any_word = Or(tuple(Compare(field, "~", word) for word in words for field in ("caption", "name")))
    return any_word if where is None else And((where, any_word))


def word_share(tokens: Sequence[AlignedToken], picture: Picture) -> float:
    """Return the share of the content words that stand in a picture's captions or names, 0..1."""
    words = content(tokens)
    if not words:
        return 0.0
    text = " ".join([*picture.captions, *(path.name for path in picture.paths)]).lower()
    return sum(word in text for word in words) / len(words)


def content(tokens: Sequence[AlignedToken]) -> list[str]:
    """Return the content words, each once, in lower case."""
    return list(dict.fromkeys(token.text.lower() for token in tokens if token.content and len(token.text) > 1))
