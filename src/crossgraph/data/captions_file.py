"""Read `captions.csv` and `captions.jsonl`, the captions files of a folder of pictures.

A row names a picture (`image`, `filename`, `file_name`, `picture` or `path`) and a `caption`, or a list of
`captions`, or has the columns `caption_1`, `caption_2` and so on; a picture may have several rows. A column `split`
is optional.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.data.caption_text import kind_of, parse_captions
from crossgraph.data.captioned import CaptionedPicture
from crossgraph.data.dataset import Log, split_name
from crossgraph.data.table_reader import read_table
from crossgraph.files import read_text

CAPTION_FILES = ("captions.jsonl", "captions.csv")
_NAME_COLUMNS = ("image", "filename", "file_name", "image_name", "picture", "path", "file")
_CAPTION_COLUMNS = ("caption", "captions", "text", "sentence", "comment", "sentences", "raw")
_CHAT_COLUMNS = ("conversations", "conversation", "messages")

Row = Sequence[tuple[str, Any]]  # (column, value), in the file's order


def read_captions(path: Path, log: Log = lambda note: None) -> list[CaptionedPicture]:
    """Read a captions file, in the order in which pictures first occur.

    Args:
        path: The file: JSON lines where its name ends in `.jsonl`, else a text table.
        log: Called with a note where a column of captions is not read.

    Raises:
        InputError: It is empty or not readable, or a line lacks the picture or the caption; the line is named.
    """
    text = read_text(path, "write one with the columns image and caption")
    captions: dict[str, list[str]] = {}
    splits: dict[str, str | None] = {}
    noted: set[tuple[str, ...]] = set()
    rows = _read_json_lines(text, path) if path.suffix.lower() == ".jsonl" else read_table(text, path, _NAME_COLUMNS)
    for line, row in rows:
        where = f"{path}, line {line}"
        used, *others = _filled_groups(row)
        if others and others[0] not in noted:
            noted.add(others[0])
            log(f"note: {path}: captions are read from '{used[0]}', not from '{others[0][0]}'")
        name = _picture_name(row, where)
        captions.setdefault(name, []).extend(_row_captions(row, used, where))
        written = next((value for column, value in row if column == "split" and value not in (None, "")), None)
        split = None if written is None else split_name(str(written))
        if splits.setdefault(name, split) != split:
            here, above = (f"in split '{known}'" if known else "in no split" for known in (split, splits[name]))
            raise InputError(f"{where}: '{name}' is {here} here and {above} above", "name the same split in both")
    if not captions:
        raise InputError(f"{path}: holds no caption", "write one line per caption: the picture and the sentence")
    return [CaptionedPicture((name,), tuple(texts), splits[name]) for name, texts in captions.items()]


def _read_json_lines(text: str, path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", error)
            raise InputError(f"{path}, line {number}: not valid JSON ({reason})", "write one object a line") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: not an object", 'write {"image": ..., "caption": ...}')
        yield number, [(str(key).strip().lower(), value) for key, value in row.items()]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's keys and values; refuse a key that occurs twice, of which JSON readers drop one."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"'{next(key for key in keys if keys.count(key) > 1)}' occurs twice")
    return value


def _picture_name(row: Row, where: str) -> str:
    values = dict(row)
    column = next((name for name in _NAME_COLUMNS if values.get(name) is not None), None)
    if column is None:
        raise _lacking(row, _NAME_COLUMNS, where)
    name = values[column]
    if not isinstance(name, str) or not name.strip() or "\n" in name.strip():
        raise InputError(f"{where}: names no picture", "write its file name")
    return name.strip().replace("\\", "/")


def _row_captions(row: Row, columns: Sequence[str], where: str) -> list[str]:
    """Return a row's captions, of all columns that hold some.

    Of several columns some may be empty, for a picture with fewer captions than others.
    """
    values = [value for column, value in row if column in columns]
    if not values:
        raise _lacking(row, _CAPTION_COLUMNS, where)
    if len(values) > 1:
        filled = [value for value in values if value is not None and str(value).strip()]
        values = filled or values[:1]
    return [caption for value in values for caption in parse_captions(value, where)]


def _filled_groups(row: Row) -> Sequence[tuple[str, ...]]:
    """Return the groups of columns that hold captions in this row, the one to read first; one at least, or ()."""
    groups = _caption_columns(tuple(column for column, _ in row))
    filled = {column for column, value in row if value is not None}
    return [group for group in groups if filled.intersection(group)] or groups[:1] or [()]


@lru_cache(maxsize=256)
def _caption_columns(columns: tuple[str, ...]) -> Sequence[tuple[str, ...]]:
    """Group the columns of captions: those of one name, alone or with numbers (`caption`, `caption_1`, `caption_2`)."""
    names = [re.sub(r"[\s_.-]*\d+$", "", column) for column in columns]
    groups = (tuple(c for c, name in zip(columns, names, strict=True) if name == known) for known in _CAPTION_COLUMNS)
    return [group for group in groups if group]


def _lacking(row: Row, names: Sequence[str], where: str) -> InputError:
    """Return the refusal of a row that has no column of these names; no remedy loses what the row holds."""
    columns = [column for column, _ in row]
    chat = next((column for column in columns if column in _CHAT_COLUMNS), None)
    if chat and names is _CAPTION_COLUMNS:
        problem = f"{where}: '{chat}' holds the turns of a chat, as chat models are trained on, and no caption"
        return InputError(problem, 'write each sentence as a row: {"image": ..., "caption": ...}')
    several = [column for column in columns if column.startswith(names[0])]
    shown = ", ".join(c if v is None or isinstance(v, str) else f"{c} ({kind_of(v)})" for c, v in row) or "nothing"
    problem = f"{where}: has no '{names[0]}' (it has {shown})"
    if len(several) > 1:
        numbered = ", ".join(f"{names[0]}_{number}" for number in range(1, len(several) + 1))
        return InputError(problem, f"several columns are read if they are called {numbered}; one, if it is {names[0]}")
    texts = [c for c, value in row if isinstance(value, str) and value.strip(" -.0123456789")]
    hint = next((column for column in texts if get_close_matches(column, names, n=1, cutoff=0.85)), None)
    return InputError(
        problem,
        f"rename '{hint}' to '{names[0]}'" if hint else f"its column is called {', '.join(names[:-1])} or {names[-1]}",
    )
