"""A folder of pictures with `captions.csv` or `captions.jsonl`.

A row names a picture (`image`, `filename`, `file_name`, `picture` or `path`) and a `caption`, or a list of
`captions`; a picture may have several rows. A column `split` is optional.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.data.captioned import CaptionedPicture
from crossgraph.data.dataset import split_name
from crossgraph.files import read_text

CAPTION_FILES = ("captions.jsonl", "captions.csv")
_PICTURE = ("image", "filename", "file_name", "image_name", "picture", "path", "file")
_CAPTION = ("caption", "captions", "text", "sentence", "comment")


def read_captions(path: Path) -> list[CaptionedPicture]:
    """Read a captions file, in the order in which pictures first occur.

    Raises:
        InputError: It is empty or not readable, or a line lacks the picture or the caption; the line is named.
    """
    text = read_text(path, "write one with the columns image and caption")
    captions: dict[str, list[str]] = {}
    splits: dict[str, str | None] = {}
    for line, row in _json_lines(text, path) if path.suffix == ".jsonl" else _csv_rows(text, path):
        name = _field(row, _PICTURE, path, line)
        found = _field(row, _CAPTION, path, line)
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{path}, line {line}: names no picture", "write its file name")
        sentences = found if isinstance(found, list) else [found]
        if not all(isinstance(sentence, str) for sentence in sentences):
            raise InputError(f"{path}, line {line}: the caption is not text", "write a sentence or a list of them")
        name = name.strip().replace("\\", "/")
        captions.setdefault(name, []).extend(sentences)
        written = row.get("split")
        split = split_name(str(written)) if written not in (None, "") else None
        if splits.setdefault(name, split) != split:
            raise InputError(
                f"{path}, line {line}: '{name}' is in split '{split}' here and in '{splits[name]}' above",
                "keep a picture in one split",
            )
    if not captions:
        raise InputError(f"{path}: holds no caption", "write one line per caption: the picture and the sentence")
    return [CaptionedPicture((name,), tuple(said), splits[name]) for name, said in captions.items()]


def _json_lines(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {number}: not valid JSON ({error.msg})", "write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not an object", 'write {"image": ..., "caption": ...}')
        yield number, row


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t|", key=head.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        reader.fieldnames = [str(name).strip().lower() for name in reader.fieldnames or []]
        for row in reader:
            if None in row:
                raise InputError(
                    f"{path}, line {reader.line_num}: more fields than columns",
                    'put a caption that holds a comma in quotes: "a dog, running"',
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}", "save it as a plain CSV file") from error


def _field(row: Mapping[str, Any], names: tuple[str, ...], path: Path, line: int) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    known = [str(name) for name in row]
    hint = next((name for name in known if "did you mean" in did_you_mean(name, names)), None)
    what = f"has no '{names[0]}' (it has {', '.join(known) or 'nothing'})"
    raise InputError(
        f"{path}, line {line}: {what}", f"rename '{hint}' to '{names[0]}'" if hint else f"add it: {', '.join(names)}"
    )
