"""Settings: dataclass defaults, then a YAML file, then `--a.b=c`, each checked against the types.

A settings class is a plain dataclass with typed fields, possibly of further dataclasses. What a person
writes is checked strictly: a key that no field has, a missing value or a value of another type is
refused in one line with its full dotted name.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from crossgraph.core.errors import InputError, did_you_mean

T = TypeVar("T")


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Read a YAML mapping.

    Args:
        text: The YAML; empty text is an empty mapping. `1e-3` is a number.
        source: Where it came from, for messages.

    Raises:
        InputError: It is not YAML, or not a mapping with text keys.
    """
    value = _yaml(text, source)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{source}: holds {_kind(value)}, not settings", "write `key: value` lines")
    _check_keys(cast("dict[object, object]", value), source)
    return cast("dict[str, Any]", value)


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys in a nested mapping.

    Args:
        values: Settings as `parse_yaml` gives them; left unchanged.
        overrides: `a.b=value` each, with or without leading dashes; the value is YAML.

    Returns:
        A changed copy. Keys are not checked here but by `build`.

    Raises:
        InputError: An override has no `=`, no key, or goes through a value that holds no keys.
    """
    result = copy.deepcopy(dict(values))
    for override in overrides:
        key, equals, text = override.removeprefix("--").partition("=")
        parts = [part.replace("-", "_") for part in key.split(".")]
        if not equals or not all(parts):
            raise InputError(f"'{override}' sets nothing", "write --key=VALUE or --group.key=VALUE")
        target = result
        for depth, part in enumerate(parts[:-1], start=1):
            inner = target.setdefault(part, {})
            if inner is None:
                inner = target[part] = {}
            if not isinstance(inner, dict):
                raise InputError(f"--{key}: '{'.'.join(parts[:depth])}' is {_kind(inner)} and holds no keys")
            target = cast("dict[str, Any]", inner)
        target[parts[-1]] = _yaml(text, f"--{key}")
    return result


def build(cls: type[T], values: object, source: str, prefix: str = "") -> T:
    """Make a settings object from plain values.

    Args:
        cls: A dataclass; fields may be numbers, text, `bool`, `Path`, `Literal`, lists, tuples,
            mappings, further dataclasses, and any of these or None.
        values: A mapping of plain values, as YAML and JSON have them.
        source: Where they came from, for messages.
        prefix: Dotted key of `values` inside the source, for messages.

    Raises:
        InputError: A key is unknown, a value is missing or has another type, or the class's own
            checks (an `InputError` or `ValueError` from `__post_init__`) refuse it.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{source}: {prefix or 'it'} must hold keys, not {_kind(values)}")
    given = cast("Mapping[str, Any]", values)
    fields = {item.name: item for item in dataclasses.fields(cast(Any, cls)) if item.init}
    hints = typing.get_type_hints(cls)
    for key in given:
        if key not in fields:
            raise InputError(f"{source}: unknown key '{_join(prefix, str(key))}'", did_you_mean(str(key), fields))
    made: dict[str, Any] = {}
    for name, item in fields.items():
        if name in given:
            made[name] = _convert(hints[name], given[name], source, _join(prefix, name))
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise InputError(f"{source}: '{_join(prefix, name)}' is missing", "give it a value")
    try:
        return cls(**made)
    except InputError as error:
        raise InputError(f"{source}: {error.problem}", error.remedy) from error
    except ValueError as error:
        raise InputError(f"{source}: {prefix + ': ' if prefix else ''}{error}") from error


def to_dict(config: object) -> dict[str, Any]:
    """Return a settings object as plain values, such that `build(type(config), ...)` gives it back."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"{config!r} is not a settings object")
    return {item.name: _plain(getattr(config, item.name)) for item in dataclasses.fields(config) if item.init}


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, object]", value)
        return {key: _plain(inner) for key, inner in entries.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast("Sequence[object]", value)]
    return str(value) if isinstance(value, Path) else value


def _yaml(text: str, source: str) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=_yaml_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark and "\n" in text.strip() else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{source}: not valid YAML{where} ({reason})", "mend or quote the value") from error


@functools.cache
def _yaml_loader() -> Any:
    """Return PyYAML's safe loader, changed in two ways: 1e-3 is a number, as in YAML 1.2, and a date is text."""
    import yaml

    resolvers = {
        first: [(tag, pattern) for tag, pattern in entries if not tag.endswith((":float", ":timestamp"))]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("Loader", (base,), {"yaml_implicit_resolvers": resolvers})
    loader.add_implicit_resolver("tag:yaml.org,2002:float", _YAML_FLOAT, list("-+0123456789."))
    return loader


_YAML_FLOAT = re.compile(
    r"""[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?$
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$
    |\.[0-9_]+(?:[eE][-+][0-9]+)?$
    |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*$
    |[-+]?\.(?:inf|Inf|INF)$
    |\.(?:nan|NaN|NAN)$""",
    re.VERBOSE,
)


def _check_keys(values: Mapping[object, object], source: str) -> None:
    for key, value in values.items():
        if not isinstance(key, str):
            raise InputError(f"{source}: key {key!r} is {_kind(key)}", "quote it")
        if isinstance(value, dict):
            _check_keys(cast("dict[object, object]", value), source)


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """Check `value` against a type and return it in that type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object:
        return value
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        return _convert_union(arguments, value, source, key)
    if origin is Literal:
        return _convert_choice(arguments, value, source, key)
    if dataclasses.is_dataclass(hint):
        return build(cast("type[Any]", hint), value, source, key)
    if (origin or hint) in (list, tuple, Sequence):
        return _convert_sequence(hint, value, source, key)
    if (origin or hint) in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(source, key, value, "key: value lines")
        inner = arguments[1] if arguments else Any
        entries = cast("Mapping[str, Any]", value)
        return {name: _convert(inner, entry, source, _join(key, name)) for name, entry in entries.items()}
    return _convert_scalar(hint, value, source, key)


def _convert_scalar(hint: Any, value: Any, source: str, key: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _wrong(source, key, value, "a finite number")
        return float(value)
    if hint is Path and isinstance(value, str) and value:
        return Path(value)
    if hint is types.NoneType and value is None:
        return None
    if hint is int and isinstance(value, bool):
        raise _wrong(source, key, value, "a whole number")
    if hint in (int, bool, str) and isinstance(value, hint):
        return value
    raise _wrong(source, key, value, _NAMES.get(hint, str(hint)))


def _convert_union(arguments: tuple[Any, ...], value: Any, source: str, key: str) -> Any:
    others = [hint for hint in arguments if hint is not types.NoneType]
    if value is None and len(others) < len(arguments):
        return None
    if len(others) == 1:
        return _convert(others[0], value, source, key)
    for hint in others:
        try:
            return _convert(hint, value, source, key)
        except InputError:
            continue
    raise _wrong(source, key, value, " or ".join(_NAMES.get(hint, str(hint)) for hint in others))


def _convert_choice(choices: tuple[Any, ...], value: Any, source: str, key: str) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    hint = did_you_mean(str(value), map(str, choices))
    raise InputError(f"{source}: '{key}' cannot be {value!r}", hint)


def _convert_sequence(hint: Any, value: Any, source: str, key: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(source, key, value, "a list")
    items = cast("Sequence[Any]", value)
    arguments = typing.get_args(hint)
    is_tuple = (typing.get_origin(hint) or hint) is tuple
    if is_tuple and arguments and arguments[-1] is not Ellipsis:
        if len(items) != len(arguments):
            raise InputError(f"{source}: '{key}' has {len(items)} values, not {len(arguments)}")
        kinds = arguments
    else:
        kinds = (arguments[0] if arguments else Any,) * len(items)
    made = [
        _convert(kind, item, source, f"{key}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True))
    ]
    return tuple(made) if is_tuple else made


_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    types.NoneType: "null",
}


def _wrong(source: str, key: str, value: object, wanted: str) -> InputError:
    return InputError(f"{source}: '{key}' is {value!r}, {_kind(value)}", f"give {wanted}")


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return "empty" if value is None else names.get(type(value), type(value).__name__)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
