"""Parse a command line by a function's typed signature.

Positional parameters are positionals, keyword-only parameters are `--options`, the types choose the converters and
the Google docstring gives the help. A list option takes one value each time and is repeated: `--like 3 --like 5`.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import math
import re
import shlex
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from crossgraph.core.errors import InputError, did_you_mean

OVERRIDES = "overrides"
"""A keyword-only parameter of this name collects the `--a.b=c` arguments."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command.

    Attributes:
        name: The Python name.
        option: True for `--name`, False for a positional.
        many: Whether it takes a list of values.
        flag: Whether it takes no value.
        convert: Text to value; raises `argparse.ArgumentTypeError` with a reason.
        shown: What stands for the value in the help.
        default: The default, or `inspect.Parameter.empty` where the parameter is required.
        help: Its line of the docstring.
    """

    name: str
    option: bool
    many: bool
    flag: bool
    convert: Callable[[str], Any]
    shown: str
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether the command cannot do without."""
        return self.default is inspect.Parameter.empty

    @property
    def spelled(self) -> str:
        """How a person writes it: `--image-size`, `RUN`."""
        return "--" + self.name.rstrip("_").replace("_", "-") if self.option else self.shown


_WIDEST = 2**63
_SHORT = re.compile(r"-[a-zA-Z]")
_LIKE_AN_OPTION = re.compile(r"--|-[^\d.]\S*$")  # with a space in it, it is a text


def call(function: Callable[..., None], prog: str, arguments: Sequence[str]) -> None:
    """Parse `arguments` by the function's signature and call it.

    Args:
        function: A command.
        prog: What stands before the arguments: "crossgraph score".
        arguments: The words after the command's name.

    Raises:
        InputError: An argument is unknown, missing or of the wrong type.
        SystemExit: `--help` was asked for and printed.
    """
    parameters, collects = read(function)
    positionals, options, overrides = _arrange(parameters, arguments, collects)
    escape = any(word.startswith("-") for word in positionals)
    words = [*options, "--", *positionals] if escape else [*positionals, *options]
    parser = _parser(parameters, prog, inspect.getdoc(function) or "", collects)
    try:
        values = vars(parser.parse_args(words))
    except argparse.ArgumentError as error:
        _suspect(overrides, parameters)
        raise InputError(_explain(str(error), parameters), f"see {prog} --help") from error
    given: dict[str, Any] = {p.name: values[p.name] for p in parameters if p.option}
    if collects:
        given[OVERRIDES] = overrides
    function(*(values[p.name] for p in parameters if not p.option), **given)


def read(function: Callable[..., None]) -> tuple[list[Parameter], bool]:
    """Read a command's parameters, and whether it collects overrides."""
    hints = typing.get_type_hints(function)
    described = _described(inspect.getdoc(function) or "")
    parameters: list[Parameter] = []
    collects = False
    for name, item in inspect.signature(function).parameters.items():
        option = item.kind is inspect.Parameter.KEYWORD_ONLY
        if option and name == OVERRIDES:
            collects = True
            continue
        hint, many = _element(hints[name])
        shown = name.upper().rstrip("_")
        shown = shown.removesuffix("S") if many else shown
        if hint is not bool:
            convert, shown = _converter(hint, shown)
        else:
            convert = str
        parameters.append(
            Parameter(name, option, many, hint is bool, convert, shown, item.default, described.get(name, ""))
        )
    return parameters, collects


def _element(hint: Any) -> tuple[Any, bool]:
    """Return a type without `| None` and `list[...]`, and whether it was a list."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        inner = [item for item in typing.get_args(hint) if item is not types.NoneType]
        if len(inner) != 1:
            raise TypeError(f"a command line cannot tell the types of {hint} apart")
        hint = inner[0]
    if typing.get_origin(hint) in (list, Sequence):
        return typing.get_args(hint)[0], True
    return hint, False


def _converter(hint: Any, shown: str) -> tuple[Callable[[str], Any], str]:
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        return lambda text: _choice(text, choices), "{" + ",".join(map(str, choices)) + "}"
    if hint is int:
        return _whole, "N"
    if hint is float:
        return _number, "X"
    if hint is Path:
        return _path, shown
    if hint is str:
        return str, shown
    raise TypeError(f"no command line form for {hint}")


def _choice(text: str, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if text in (choice, str(choice)):
            return choice
    raise argparse.ArgumentTypeError(f"unknown choice '{text}' ({did_you_mean(text, map(str, choices))})")


def _whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a whole number") from None
    if not -_WIDEST <= value < _WIDEST:  # beyond it, libraries fail each in its own way
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is too large a number")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not a finite number")
    return value


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path")
    return Path(text)


def _arrange(
    parameters: Sequence[Parameter], arguments: Sequence[str], collects: bool
) -> tuple[list[str], list[str], list[str]]:
    """Separate the words into positionals, options with their values (spelled one way) and overrides.

    Raises:
        InputError: An option is unknown, or a list option is followed by several values.
    """
    options = {p.name: p for p in parameters if p.option}
    positionals: list[str] = []
    rest: list[str] = []
    overrides: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            positionals += queue
            break
        if word == "-h":
            word = "--help"
        elif _SHORT.fullmatch(word) and word[1:] in options:  # an option of one letter is written with one dash too
            word = f"-{word}"
        if not word.startswith("--"):
            if _LIKE_AN_OPTION.match(word):
                raise _unknown_short_option(word, parameters)
            positionals.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        option = options.get(name.replace("-", "_")) or options.get(f"{name}_")  # `not_` is --not
        if option is not None:
            rest.append(option.spelled + equals + value)
            if not equals and not option.flag and queue and not queue[0].startswith("--"):
                rest.append(queue.pop(0))
                if option.many:
                    _refuse_further_values(option, rest[-1], queue, positionals, parameters)
        elif name == "help":
            rest.append("--help")
        elif collects and (equals or "." in name or (queue and not queue[0].startswith("--"))):
            overrides.append(f"{name}={value if equals else _override_value(name, queue)}")
        else:
            raise InputError(f"no option --{name}", did_you_mean(f"--{name}", [p.spelled for p in options.values()]))
    return positionals, rest, overrides


def _unknown_short_option(word: str, parameters: Sequence[Parameter]) -> InputError:
    known = f"see {' '.join(p.spelled for p in parameters if p.option)}"
    if any(p.convert is str and not p.option for p in parameters):
        known = f"a text that begins with a minus stands last, after --: -- '{word}'; for options {known}"
    return InputError(f"no option {word}", known)


def _refuse_further_values(
    option: Parameter, value: str, queue: Sequence[str], positionals: Sequence[str], parameters: Sequence[Parameter]
) -> None:
    """Refuse `--scores a.npy b.npy`: once, b.npy was a further value, and it must not silently become a positional.

    A word after the value is a positional where that is the only way to read it: no positional stands before the
    option, and the word fits the open positional but not the option.

    Raises:
        InputError: Further values follow; the remedy is the line to type.
    """
    following = list(itertools.takewhile(lambda word: not _LIKE_AN_OPTION.match(word), queue))
    accepting = [p for p in parameters if not p.option]
    if not any(p.many for p in accepting):
        accepting = accepting[len(positionals) :]
    fitting = [word for word in following if accepting and _fits(word, accepting[0], option)]

    is_typed = option.convert not in (str, _path)  # such as numbers: what converts is a value
    are_values = bool(positionals) or (len(fitting) > len(accepting) and not any(p.many for p in accepting))

    def is_value(word: str) -> bool:
        return _converts(word, option) if is_typed else are_values or word not in fitting

    further = list(itertools.takewhile(is_value, following))
    if further:
        line = " ".join(f"{option.spelled} {shlex.quote(word)}" for word in (value, *further))
        if set(further) <= set(fitting):
            line += f" (or put {shlex.join(further)} before {option.spelled} if {accepting[0].shown} is meant)"
        raise InputError(f"{option.spelled} takes one value and is repeated for more", f"write {line}")


def _fits(word: str, positional: Parameter, option: Parameter) -> bool:
    """Return whether a word can be a positional: a path that exists, and beside an option of files a folder."""
    if positional.convert is _path:
        return Path(word).is_dir() if option.convert is _path else Path(word).exists()
    return _converts(word, positional)


def _converts(word: str, parameter: Parameter) -> bool:
    try:
        parameter.convert(word)
    except argparse.ArgumentTypeError:
        return False
    return True


def _override_value(name: str, queue: list[str]) -> str:
    if not queue or queue[0].startswith("--"):
        raise InputError(f"--{name} has no value", f"write --{name}=VALUE")
    return queue.pop(0)


def _suspect(overrides: Sequence[str], parameters: Sequence[Parameter]) -> None:
    """Blame a mistyped option that was taken for a key of the recipe, once something else is missing.

    Raises:
        InputError: An override without a dot is close to an option.
    """
    for name in (override.partition("=")[0] for override in overrides):
        hint = did_you_mean(f"--{name}", [p.spelled for p in parameters if p.option])
        if "." not in name and hint.startswith("did you mean"):
            raise InputError(f"no option --{name}", hint)


class _Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors are raised and not printed."""

    def error(self, message: str) -> NoReturn:
        raise argparse.ArgumentError(None, message)


def _parser(parameters: Sequence[Parameter], prog: str, doc: str, collects: bool) -> _Parser:
    parser = _Parser(
        prog=prog,
        description=re.split(r"\n\s*(?:Args|Raises|Returns|Attributes|Yields):\s*\n", doc)[0].strip(),
        epilog="Any key of the recipe can be set by --a.b=VALUE, for example --model.config.dropout=0.2."
        if collects
        else None,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for p in parameters:
        settings: dict[str, Any] = {"help": p.help.replace("%", "%%")}
        if p.option:
            settings |= {"dest": p.name, "required": p.required}
            settings["help"] += " (required)" if p.required else ""
        if p.flag:
            parser.add_argument(p.spelled, action="store_true", **settings)
            continue
        settings |= {"type": p.convert, "metavar": p.shown}
        if not p.required:
            settings["default"] = p.default
            if p.default not in (None, [], ()):
                settings["help"] += f" (default: {p.default})"
        if p.option and p.many:
            settings["action"] = "append"
            settings["help"] += " (may be repeated)"
        elif not p.option and (p.many or not p.required):
            settings["nargs"] = "?" if not p.many else "+" if p.required else "*"
        parser.add_argument(p.spelled if p.option else p.name, **settings)
    return parser


def _described(doc: str) -> dict[str, str]:
    """Read the `Args:` section of a Google docstring."""
    section = re.search(r"^Args:\s*\n(.*?)(?=^\S|\Z)", doc, re.S | re.M)
    entries: dict[str, str] = {}
    name = ""
    for line in section[1].splitlines() if section else []:
        head = re.match(r" {4}(\w+)(?: \([^)]*\))?:\s*(.*)", line)
        if head:
            name = head[1]
            entries[name] = head[2]
        elif name and line.strip():
            entries[name] += " " + line.strip()
    return entries


def _explain(message: str, parameters: Sequence[Parameter]) -> str:
    """Turn the parser's words into ours, on one line."""
    missing = re.search(r"arguments are required: (.*)", message)
    if missing:
        spelled = {p.name: p.spelled for p in parameters}
        names = [spelled.get(name.strip().replace("-", "_"), name.strip()) for name in missing[1].split(",")]
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} required"
    unknown = re.search(r"unrecognized arguments: (.*)", message, re.I)
    if unknown:
        return f"nothing is expected after the arguments, but found: {unknown[1].strip()}"
    return re.sub(r"^argument (\S+): ", r"\1: ", " ".join(message.split()))
