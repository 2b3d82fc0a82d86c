"""Dependency edges of a data set's captions, beside them in `dependencies.jsonl`.

    {"format_version": 1, "parser": "spacy en_core_web_sm 3.8.0"}
    {"caption": "a red ball", "edges": [[3, 1], [3, 2]]}        (head, dependent), the first word is 1

Captions are found by their text, so that splits, layouts and the order of lines do not matter.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from crossgraph.core.errors import InputError
from crossgraph.data.edges import PackedEdges
from crossgraph.files import atomic_write, read_text
from crossgraph.text.dependencies import Edges, SentenceParser

FILE = "dependencies.jsonl"
FORMAT_VERSION = 1
_KEPT_EVERY = 50_000  # captions: what a kill loses at most
_LAST = 32_767  # the last token of a caption whose edges are kept
_REMEDY = "move it away, then make it again: crossgraph parse DATA"


@dataclass(frozen=True)
class Dependencies:
    """What a file holds.

    Attributes:
        parser: What made it, see `SentenceParser.name`.
        rows: Line of each caption, from 0.
        flat: Heads and dependents in turn.
        starts: Where each line's pairs begin, counted in pairs; one more than lines.
    """

    parser: str
    rows: Mapping[str, int]
    flat: np.ndarray
    starts: np.ndarray

    def of(self, captions: Sequence[str]) -> PackedEdges | None:
        """Return the edges of captions; None where some have none."""
        rows = [self.rows.get(caption) for caption in captions]
        if any(row is None for row in rows):
            return None
        every = PackedEdges(self.flat, self.starts)
        kept = [every[row] for row in rows if row is not None]
        starts = np.cumsum([0, *map(len, kept)], dtype=np.int64)
        return PackedEdges(np.array(list(chain.from_iterable(chain.from_iterable(kept))), dtype=np.int16), starts)


def read_dependencies(path: Path) -> Dependencies:
    """Read a file of dependencies.

    Raises:
        InputError: It is no such file; the line is named.
    """
    flat, starts, rows = array("h"), array("q", [0]), dict[str, int]()
    lines = read_text(path).split("\n")
    number = 1
    try:
        head = json.loads(lines[0])
        if head["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: format version {head['format_version']}, this program reads 1", _REMEDY)
        parser = str(head["parser"])
        for line in lines[1:]:
            number += 1
            if not line:
                continue
            entry = json.loads(line)
            for first, second in entry["edges"]:
                if first < 0 or second < 0:
                    raise ValueError(f"a negative position in {[first, second]}")
                flat.extend((first, second))
            rows[str(entry["caption"])] = len(starts) - 1
            starts.append(len(flat) // 2)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"{path}, line {number}: not dependency edges ({error})", _REMEDY) from error
    return Dependencies(parser, rows, np.array(flat, dtype=np.int16), np.array(starts, dtype=np.int64))


def write_dependencies(
    path: Path, captions: Iterable[str], parser: SentenceParser, report: Callable[[int, int], None]
) -> int:
    """Parse the captions that a file lacks, and write it; what was there stays.

    Args:
        path: The file.
        captions: All of a data set; each text is parsed once.
        parser: What parses.
        report: Hears how many captions are done, and of how many.

    Returns:
        How many were parsed now.

    Raises:
        InputError: The file was made by another parser, is broken, or cannot be written.
        KeyboardInterrupt: Ctrl-C; what was parsed is kept.
    """
    texts = list(dict.fromkeys(captions))
    lines = _kept_lines(path, parser)
    missing = [text for text in texts if text not in lines]
    before, found = len(texts) - len(missing), parser.parse(missing)
    report(before, len(texts))
    done = 0
    try:
        for text, edges in zip(missing, found, strict=True):
            lines[text] = _line(text, edges)
            done += 1
            if done % 100 == 0 or done == len(missing):
                report(before + done, len(texts))
            if done % _KEPT_EVERY == 0:
                _write(path, parser, lines.values())
    except KeyboardInterrupt:
        if done:
            _write(path, parser, lines.values())
        raise
    if missing:
        _write(path, parser, lines.values())
    return done


def _kept_lines(path: Path, parser: SentenceParser) -> dict[str, str]:
    """Return the lines of a file of this parser, by caption."""
    if not path.exists():
        return {}
    kept = read_dependencies(path)
    if kept.parser != parser.name:
        raise InputError(
            f"{path}: was made by '{kept.parser}', not by '{parser.name}'",
            "name its parser by --parser, or move it away to parse again",
        )
    every = PackedEdges(kept.flat, kept.starts)
    return {text: _line(text, every[row]) for text, row in kept.rows.items()}


def _line(text: str, edges: Edges) -> str:
    kept = [pair for pair in edges if max(pair) <= _LAST]
    return json.dumps({"caption": text, "edges": kept}, ensure_ascii=False)


def _write(path: Path, parser: SentenceParser, lines: Iterable[str]) -> None:
    head = json.dumps({"format_version": FORMAT_VERSION, "parser": parser.name})
    with atomic_write(path) as file:
        for line in chain([head], lines):
            file.write(f"{line}\n".encode())
