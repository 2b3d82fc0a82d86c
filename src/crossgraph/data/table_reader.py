"""Read CSV and TSV tables strictly: no quote, field or row is lost silently.

Python's `csv` takes everything up to the next quote for one field, so that one quote that is never closed swallows
the rows below it. Here a quoted field may span lines, but a quote that does not end its field, and a field that
holds what looks like further rows, are refused with the line on which the quote opens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossgraph.core.errors import InputError

DELIMITERS = ",;\t|"
_PICTURE_FILE = re.compile(
    r"\S.*\.(jpe?g|jpe|jfif|png|webp|gif|tiff?|bmp|hei[cf]|avif|jp2|ppm|pgm)(#\d+)?", re.IGNORECASE
)
_QUOTE_REMEDY = 'close it, or where it is part of the text, quote the whole field and double it: "a 5"" disk"'


@dataclass(frozen=True)
class Record:
    """One row of a table.

    Attributes:
        line: Line on which it begins, from 1.
        fields: Its fields, without the quotes around them.
        quoted: (line, text) of the quoted fields that hold line breaks, and the line on which each opens.
    """

    line: int
    fields: list[str]
    quoted: Sequence[tuple[int, str]] = ()


def read_table(text: str, path: Path, name_columns: Sequence[str]) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Yield (line, [(column, field), ...]) of each row below the header; column names are in lower case.

    The delimiter is the one of comma, semicolon, tab and bar that the header holds most often. Columns may share
    a name.

    Args:
        text: The table.
        path: Its file, for messages.
        name_columns: What the column that names the row's picture may be called; lines inside a quoted field that
            hold such a name are taken for rows that a lost quote swallowed.

    Raises:
        InputError: A quote is not closed, or a row has more or fewer fields than the header; the line is named.
    """
    delimiter = max(DELIMITERS, key=text.lstrip("\n").partition("\n")[0].count)
    records = _records(text, delimiter, path)
    header = next(records, None)
    if header is None:
        return
    columns = [name.strip().lower() for name in header.fields]
    _check_header(header, delimiter, path)
    name_column = next((columns.index(name) for name in name_columns if name in columns), 0)
    example = ""
    for record in records:
        while len(record.fields) > len(columns) and not record.fields[-1].strip():
            record.fields.pop()
        _check_length(record, columns, delimiter, path)
        name = record.fields[name_column]
        for line, field in record.quoted:
            if _holds_rows(field, delimiter, len(columns), name_column, example or name):
                problem = f"{path}, line {line}: the quote that opens here takes the rows below it for its text"
                raise InputError(problem, _QUOTE_REMEDY)
        example = name
        yield record.line, list(zip(columns, record.fields, strict=True))


def _records(text: str, delimiter: str, path: Path) -> Iterator[Record]:
    """Yield the rows that are not blank."""
    start, line = 0, 1
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        row = text[start:end]
        if '"' not in row:
            if row.strip():
                yield Record(line, [field.lstrip(" ") for field in row.split(delimiter)])
        else:
            fields, quoted, end = _split_quoted_row(text, start, line, delimiter, path)
            yield Record(line, fields, quoted)
        line += 1 + text.count("\n", start, end)
        start = end + 1


def _split_quoted_row(
    text: str, start: int, line: int, delimiter: str, path: Path
) -> tuple[list[str], list[tuple[int, str]], int]:
    """Split the row that begins at `start`; return its fields, those with line breaks, and the row's end."""
    fields: list[str] = []
    quoted: list[tuple[int, str]] = []
    ends = re.compile(f"[{re.escape(delimiter)}\n]|\\Z")
    position = start
    while True:
        while text.startswith(" ", position):
            position += 1
        field = ""
        if text.startswith('"', position):
            opening_line = line + text.count("\n", start, position)
            closing = _closing_quote(text, position + 1)
            inside = text[position + 1 : closing]
            is_whole = closing > 0 and re.compile(f" *({ends.pattern})").match(text, closing + 1) is not None
            if closing < 0 or ("\n" in inside and not is_whole):
                raise InputError(f"{path}, line {opening_line}: a quote opens here and is not closed", _QUOTE_REMEDY)
            field = inside.replace('""', '"')
            if "\n" in field:
                quoted.append((opening_line, field))
            position = closing + 1
        stop = ends.search(text, position)
        end = len(text) if stop is None else stop.start()
        # what follows a closing quote in its own line ('"Stop" says the sign') belongs to the field
        fields.append(field + (text[position:end].rstrip(" ") if field else text[position:end]))
        if not text.startswith(delimiter, end):
            return fields, quoted, end
        position = end + 1


def _closing_quote(text: str, start: int) -> int:
    """Return the position of the next quote that is not doubled, or -1."""
    position = text.find('"', start)
    while position >= 0 and text.startswith('""', position):
        position = text.find('"', position + 2)
    return position


def _check_header(header: Record, delimiter: str, path: Path) -> None:
    """Refuse a table that begins with a row of data."""
    if any(_PICTURE_FILE.fullmatch(field.strip()) for field in header.fields):
        named = delimiter.join(("image", "caption"))
        raise InputError(
            f"{path}, line {header.line}: a row ('{header.fields[0]}', ...) where the columns should be named",
            f'write a line above it that names the columns, such as "{named}"',
        )


def _check_length(record: Record, columns: Sequence[str], delimiter: str, path: Path) -> None:
    """Refuse a row that has not as many fields as there are columns: which field is lost cannot be known."""
    if len(record.fields) == len(columns):
        return
    count = f"line {record.line} has {len(record.fields)} of {len(columns)} fields"
    mark = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}[delimiter]
    if len(record.fields) < len(columns):
        remedy = f"give it all of them ({', '.join(columns)}): a {mark} is missing, or a line break stands in a caption"
    else:
        remedy = f'put the caption in quotes where it holds a {mark}: "a dog{delimiter} running"'
    raise InputError(f"{path}: {count}", remedy)


def _holds_rows(field: str, delimiter: str, columns: int, name_column: int, example: str) -> bool:
    """Return whether lines of a quoted field look like rows of the table.

    A line does where it has a picture's file name in the right column. Names without an ending are known by their
    shape ("17_4" is like "203_1"); those of letters alone look like words, so that all lines, and several, must be
    split into as many fields as the table has columns.
    """
    lines = [line.split(delimiter) for line in field.split("\n")[1:]]
    named = [line[name_column].strip(' "') for line in lines if 1 < len(line) > name_column]
    if " " not in example.strip():
        named = [name for name in named if " " not in name]
    shape = _shape(example)
    if any(_PICTURE_FILE.fullmatch(name) or (shape != "a" and _shape(name) == shape) for name in named):
        return True
    return shape == "a" and len(named) == len(lines) > 1 and all(len(line) == columns for line in lines)


def _shape(name: str) -> str:
    """Return a name with each run of digits as 0 and each run of letters as a."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", name.strip()))
