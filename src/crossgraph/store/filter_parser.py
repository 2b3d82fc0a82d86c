r"""Reading filters from text; where one cannot be read, the character is named.

    filter     = part ("or" part)*
    part       = step ("and" step)*
    step       = "not" step | "(" filter ")" | comparison
    comparison = FIELD ("=" | "!=" | "<" | "<=" | ">" | ">=" | "~") value
    value      = a number, a date, a word, or text between ' or " (\ before a quote or another \)

Words of the language and names of fields may be written large or small.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from crossgraph.core.errors import InputError
from crossgraph.store.fields import FIELDS, number
from crossgraph.store.filter_tree import And, Compare, FieldError, Filter, Not, Operator, Or

_DEEPEST = 60  # parentheses and nots within each other
_SHOWN = 24  # characters shown around an error
_EXAMPLE = "date >= 2020 and path ~ 'alps'"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TOKENS = re.compile(
    r"""(?P<space>\s+)
      | (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<open>\()
      | (?P<close>\))
      | (?P<op><=|>=|!=|=|<|>|~)
      | (?P<word>[^\s()'"=<>!~]+)""",
    re.X | re.S,
)


class FilterError(InputError):
    """A filter cannot be read.

    Args:
        problem: What is wrong.
        remedy: What would be right.
        text: The filter.
        position: The character at fault, counted from 0; the length of the text where its end came too soon.

    Attributes:
        text: The filter.
        position: The character at fault, counted from 0.
        length: How many characters are at fault; 0 at the end.
        what: What is wrong and where, for those who show the filter themselves; `problem` shows it too.
    """

    def __init__(self, problem: str, remedy: str, text: str, position: int, length: int = 1) -> None:
        super().__init__(f"filter, character {position + 1} ({_pointed(text, position, length)}): {problem}", remedy)
        self.text = text
        self.position = position
        self.length = length
        self.what = f"filter, character {position + 1}: {problem}"
        self._given = (problem, remedy, text, position, length)

    def __reduce__(self) -> tuple[type[InputError], tuple[str | int, ...]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Survive the trip between processes."""
        return type(self), self._given


def parse_filter(text: str) -> Filter:
    """Read a filter such as `date >= 2020 and (path ~ 'alps' or not camera = Canon)`.

    Args:
        text: The filter.

    Returns:
        The filter as a tree.

    Raises:
        FilterError: It cannot be read; the message names the character.
    """
    parser = _Parser(text, _tokens(text))
    read = parser.filter()
    parser.end()
    return read


class _Token(NamedTuple):
    kind: Literal["quoted", "open", "close", "op", "word", "end"]
    text: str
    position: int
    length: int

    @property
    def keyword(self) -> str:
        """The word of the language that this is, or nothing."""
        word = self.text.lower()
        return word if self.kind == "word" and word in ("and", "or", "not") else ""


def _tokens(text: str) -> list[_Token]:
    read: list[_Token] = []
    position = 0
    while position < len(text):
        found = _TOKENS.match(text, position)
        if not found:
            if text[position] in "'\"":
                raise FilterError("this quote is not closed", f"add {text[position]} at its end", text, position)
            raise FilterError("'!' stands alone", "write != for unequal, or 'not' before a comparison", text, position)
        kind = found.lastgroup
        if kind in ("quoted", "open", "close", "op", "word"):
            shown = re.sub(r"\\([\\'\"])", r"\1", found[0][1:-1]) if kind == "quoted" else found[0]
            read.append(_Token(kind, shown, position, len(found[0])))
        position = found.end()
    return [*read, _Token("end", "", len(text), 0)]


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _wrong(self, problem: str, remedy: str, token: _Token) -> FilterError:
        return FilterError(problem, remedy, self._text, token.position, token.length)

    def end(self) -> None:
        """Expect that nothing is left."""
        if self._next.kind == "close":
            raise self._wrong("this parenthesis closes nothing", "leave it out, or open one before", self._next)
        if self._next.kind != "end":
            raise self._wrong("'and', 'or' or the end was expected", "join comparisons by and, or", self._next)

    def filter(self) -> Filter:
        """Read parts joined by `or`."""
        parts = [self._part()]
        while self._next.keyword == "or":
            self._take()
            parts.append(self._part())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _part(self) -> Filter:
        parts = [self._step()]
        while self._next.keyword == "and":
            self._take()
            parts.append(self._step())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _step(self) -> Filter:
        token = self._next
        if token.kind != "open" and token.keyword != "not":
            return self._comparison()
        if self._depth >= _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} levels within each other", "simplify the filter", token)
        self._take()
        self._depth += 1
        read = self._enclosed(token) if token.kind == "open" else Not(self._step())
        self._depth -= 1
        return read

    def _enclosed(self, opened: _Token) -> Filter:
        read = self.filter()
        if self._next.kind == "end":
            raise self._wrong("this parenthesis is not closed", "add ) at its end", opened)
        if self._next.kind != "close":
            raise self._wrong("'and', 'or' or ')' was expected", "join comparisons by and, or", self._next)
        self._take()
        return read

    def _comparison(self) -> Compare:
        field = self._expect("word", "a field was expected", f"name one of {', '.join(FIELDS)}; as {_EXAMPLE}")
        op = self._expect("op", "a comparison was expected", f"write one of {' '.join(get_args(Operator))}")
        value = self._next
        if value.kind not in ("word", "quoted") or value.keyword:
            raise self._wrong("a value was expected", "give a number, a date or 'text'", value)
        self._take()
        name = field.text.lower()
        try:
            return Compare(name, _operator(op.text), _value(name, value))
        except FieldError as error:
            at = {"field": field, "op": op, "value": value}[error.part]
            raise self._wrong(error.problem, error.remedy, at) from None

    def _expect(self, kind: Literal["word", "op"], problem: str, remedy: str) -> _Token:
        token = self._next
        if token.kind != kind or token.keyword:
            raise self._wrong(problem, remedy, token)
        return self._take()


def _operator(text: str) -> Operator:
    found: dict[str, Operator] = {op: op for op in get_args(Operator)}
    return found[text]


def _value(field: str, token: _Token) -> str | float:
    """Read a value as its field wants it; where it does not fit, `Compare` says so."""
    kind = FIELDS.get(field)
    if kind == "number" and token.kind == "word" and _NUMBER.fullmatch(token.text):
        read = number(float(token.text))
        return token.text if read is None else read
    return token.text.lower() if kind == "flag" else token.text


def _pointed(text: str, position: int, length: int) -> str:
    """Return the text around an error on one line, the characters at fault between »«."""
    end = position + min(length, _SHOWN)
    before, at, after = text[:position], text[position:end], text[end:]
    before = f"…{before[-_SHOWN:]}" if len(before) > _SHOWN else before
    after = f"{after[:_SHOWN]}…" if len(after) > _SHOWN else after
    return "".join(sign if sign.isprintable() else " " for sign in f"{before}»{at}«{after}")
