"""Read files of JSON lines whose first line holds a format version: dependency edges and relations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_text

FORMAT_VERSION = 1


def read_records(path: Path, content: str, remedy: str, add: Callable[[Any, Any], None]) -> Any:
    """Return the first line's value, after `add` was called with it and the value of each later line.

    Args:
        path: The file.
        content: What a line holds, for messages.
        remedy: What to do where a line is broken.
        add: Raises ValueError, TypeError, KeyError or OverflowError where a value is not as expected.

    Raises:
        InputError: The file cannot be read or is of another version, or a line is broken; it is named.
    """
    number = 1
    try:
        lines = read_text(path).split("\n")
        head = json.loads(lines[0])
        if head["format_version"] != FORMAT_VERSION:
            raise InputError(f"{path}: format version {head['format_version']}, this program reads 1", remedy)
        for number, line in enumerate(lines[1:], start=2):  # noqa: B007 read where an error is caught
            if line:
                add(head, json.loads(line))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"{path}, line {number}: not {content} ({error})", remedy) from error
    return head
