"""Parse a field that holds captions: a sentence, a list of them, or a list that was written as text."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from crossgraph.core.errors import InputError

_STRING = re.compile(r"""[uU]?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", re.DOTALL)
_SEPARATOR = re.compile(r"\s*,\s*|\s+|\Z")
_LIST_START = re.compile(r"""\[\s*([uU]?["']|\[)|array\(\[""")
_BRACKETED = re.compile(r"\[[^\[\]]*,[^\[\]]*\]", re.DOTALL)


def parse_captions(value: object, where: str) -> list[str]:
    """Return the captions that a field holds.

    Args:
        value: A sentence or a list of sentences. A sentence that is itself a JSON or Python list of strings, as
            programs write lists into tables, stands for its elements.
        where: File and line, for messages.

    Raises:
        InputError: It is null, a number or an object, or a list that is cut short.
    """
    try:
        return [text for element in (value if isinstance(value, list) else [value]) for text in _parse_text(element)]
    except ValueError as error:
        raise InputError(f"{where}: {error}", 'write a sentence, or a list: ["a dog", "a dog runs"]') from error


def kind_of(value: object) -> str:
    """Return the kind of a JSON value, in words."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "text" if isinstance(value, str) else f"{json.dumps(value)}, not text"


def _parse_text(value: object) -> list[str]:
    if not isinstance(value, str):
        raise ValueError(f"the caption is {kind_of(value)}")
    text = value.strip()
    if not text.startswith(("[", "(", "array(")):
        return [value]
    elements = _parse_json_list(text)
    if elements is None:
        elements = _parse_python_strings(text)
    if elements is None:
        if _LIST_START.match(text) or _BRACKETED.fullmatch(text):
            raise ValueError("the caption begins as a list of captions and is none")
        return [value]
    if not all(isinstance(element, str) for element in elements):
        raise ValueError("the caption is a list that holds other things than sentences")
    return elements


def _parse_json_list(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _parse_python_strings(text: str) -> list[str] | None:
    """Return the strings of a Python list or tuple, or of a NumPy array, which sets no commas between them."""
    brackets = re.fullmatch(r"\[(.*)\]|\((.*,.*)\)|array\(\[(.*)\](?:, dtype=\w+)?\)", text, re.DOTALL)
    if brackets is None:
        return None
    inside = next(group for group in brackets.groups() if group is not None).strip()
    strings: list[str] = []
    position = 0
    while position < len(inside):
        literal = _STRING.match(inside, position)
        if literal is None:
            return None
        try:
            strings.append(str(ast.literal_eval(literal[1])))
        except (ValueError, SyntaxError):  # a line break, or an escape that is none
            return None
        separator = _SEPARATOR.match(inside, literal.end())
        if separator is None:
            return None
        position = separator.end()
    return strings
