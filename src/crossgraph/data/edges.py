"""Dependency edges of captions, published with features or made by `crossgraph parse`: read, packed and written.

`dependencies.jsonl`, beside the captions:

    {"format_version": 1, "parser": "spacy en_core_web_sm 3.8.0"}
    {"caption": "a red ball", "edges": [[3, 1], [3, 2]]}        (head, dependent), the first word is 1

Its captions are found by their text, so that splits, layouts and the order of lines do not matter.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, overload

from crossgraph.core.errors import InputError
from crossgraph.data.json_records import FORMAT_VERSION, read_records
from crossgraph.files import atomic_write, read_text
from crossgraph.progress import ProgressCallback
from crossgraph.text.dependencies import Edges, SentenceParser

FILE = "dependencies.jsonl"
_SAVE_EVERY = 50_000  # captions: a kill loses at most so many
_LAST_TOKEN = 32_767  # edges to later ones are left out: positions are kept in 16 bits
_REMEDY = "move it away, then make it again: crossgraph parse DATA"
_PUBLISHED_REMEDY = "one list of [head, dependent] pairs per caption is expected; make it again or move it away"


class PackedEdges(Sequence[list[tuple[int, int]]]):
    """Lists of (head, dependent) token positions, unpacked when read: as Python lists a split's would fill gigabytes.

    Args:
        captions: The edges of each caption.

    Raises:
        ValueError: A position is negative, or an edge is no pair.
        OverflowError: A position is beyond 16 bits.
    """

    def __init__(self, captions: Iterable[Iterable[Sequence[int]]] = ()) -> None:
        self._flat, self._starts = array("h"), array("q", [0])
        for edges in captions:
            self.append(edges)

    def append(self, edges: Iterable[Sequence[int]]) -> None:
        """Add the edges of another caption."""
        for head, dependent in edges:
            if head < 0 or dependent < 0:
                raise ValueError(f"a negative position in {[head, dependent]}")
            self._flat.extend((head, dependent))
        self._starts.append(len(self._flat))

    def __len__(self) -> int:
        """Return the number of captions."""
        return len(self._starts) - 1

    @overload
    def __getitem__(self, caption: int) -> list[tuple[int, int]]: ...
    @overload
    def __getitem__(self, caption: slice) -> list[list[tuple[int, int]]]: ...
    def __getitem__(self, caption: int | slice) -> Any:
        """Return one caption's edges, or several captions' for a slice."""
        if isinstance(caption, slice):
            return [self[row] for row in range(*caption.indices(len(self)))]
        row = range(len(self))[caption]
        flat = self._flat[self._starts[row] : self._starts[row + 1]]
        return list(zip(flat[::2], flat[1::2], strict=True))


@dataclass(frozen=True)
class Dependencies:
    """The content of `dependencies.jsonl`.

    Attributes:
        parser: The parser that made it, see `SentenceParser.name`.
        rows: Row in `edges` of each caption.
        edges: The edges.
    """

    parser: str
    rows: Mapping[str, int]
    edges: PackedEdges

    def of(self, captions: Sequence[str]) -> PackedEdges | None:
        """Return the edges of captions; None where the file lacks one."""
        if not all(caption in self.rows for caption in captions):
            return None
        return PackedEdges(self.edges[self.rows[caption]] for caption in captions)


def read_published_edges(path: Path, captions: int) -> PackedEdges:
    """Read `<split>_caps.json`: per caption a list of pairs, the first of which is the root and skipped.

    Positions count from 1 because token 0 is `<start>`: they are positions in the encoded caption.

    Raises:
        InputError: It is no such file, or holds another number of captions.
    """
    edges = PackedEdges()
    try:
        for entry in _array_elements(read_text(path)):
            edges.append(entry[1:])
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        problem = f"{path}: caption {len(edges) + 1}: not dependency edges ({error})"
        raise InputError(problem, _PUBLISHED_REMEDY) from error
    if len(edges) != captions:
        raise InputError(f"{path}: edges of {len(edges):,} captions, there are {captions:,}", _PUBLISHED_REMEDY)
    return edges


def _array_elements(text: str) -> Iterator[Any]:
    """Yield the elements of a JSON array one by one: the whole as Python lists would fill gigabytes."""
    decoder = json.JSONDecoder()
    position = _skip_space(text, 0)
    if not text.startswith("[", position):
        raise ValueError("no JSON list")
    position = _skip_space(text, position + 1)
    while not text.startswith("]", position):
        entry, position = decoder.raw_decode(text, position)
        yield entry
        position = _skip_space(text, position)
        if text.startswith(",", position):
            position = _skip_space(text, position + 1)
        elif not text.startswith("]", position):
            raise ValueError("truncated")


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def read_dependencies(path: Path) -> Dependencies:
    """Read `dependencies.jsonl`.

    Raises:
        InputError: It is no such file; the line is named.
    """
    rows, edges = dict[str, int](), PackedEdges()

    def add(head: Any, entry: Any) -> None:
        edges.append(entry["edges"])
        rows[str(entry["caption"])] = len(edges) - 1

    head = read_records(path, "dependency edges", _REMEDY, add)
    if "parser" not in head:
        raise InputError(f"{path}, line 1: names no parser", _REMEDY)
    return Dependencies(str(head["parser"]), rows, edges)


def write_dependencies(path: Path, captions: Iterable[str], parser: SentenceParser, report: ProgressCallback) -> int:
    """Parse the captions that a file lacks, and write it; what was there stays.

    Args:
        path: The file.
        captions: All of a data set; each text is parsed once.
        parser: The parser of missing captions.
        report: Called with the progress.

    Returns:
        How many were parsed now.

    Raises:
        InputError: The file was made by another parser, is broken, or cannot be written.
        KeyboardInterrupt: Ctrl-C; what was parsed is saved.
    """
    texts = list(dict.fromkeys(captions))
    lines = _saved_lines(path, parser)
    missing = [text for text in texts if text not in lines]
    before = len(texts) - len(missing)
    report("parsing", before, len(texts))
    done = saved = 0
    try:
        for text, edges in zip(missing, parser.parse(missing), strict=True):
            lines[text] = _line(text, edges)
            done += 1
            if done % 100 == 0 or done == len(missing):
                report("parsing", before + done, len(texts))
            if done % _SAVE_EVERY == 0:
                _write_lines(path, parser, lines.values())
                saved = done
    finally:
        if done > saved:
            _write_lines(path, parser, lines.values())
    return done


def _saved_lines(path: Path, parser: SentenceParser) -> dict[str, str]:
    """Return the lines of a file of this parser, by caption."""
    if not path.exists():
        return {}
    saved = read_dependencies(path)
    if saved.parser != parser.name:
        raise InputError(
            f"{path}: was made by '{saved.parser}', not by '{parser.name}'",
            "name its parser by --parser, or move it away to parse again",
        )
    return {text: _line(text, saved.edges[row]) for text, row in saved.rows.items()}


def _line(text: str, edges: Edges) -> str:
    return json.dumps({"caption": text, "edges": [e for e in edges if max(e) <= _LAST_TOKEN]}, ensure_ascii=False)


def _write_lines(path: Path, parser: SentenceParser, lines: Iterable[str]) -> None:
    head = json.dumps({"format_version": FORMAT_VERSION, "parser": parser.name})
    with atomic_write(path) as file:
        for line in chain([head], lines):
            file.write(f"{line}\n".encode())
