"""Declare the range of a settings field in its type, and check it when the settings are made.

    @dataclass(frozen=True)
    class Config(CheckedSettings, prefix="model.config."):
        embed_size: Size = 1024
        dropout: Probability = 0.4
        steps: Annotated[int, Range(least=1, most=16)] = 3

`Config(steps=0)` is refused: "model.config.steps is 0: give a number from 1 to 16".
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from typing import Annotated, Any, ClassVar

from crossgraph.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers from a lower bound on, to an upper one where it is given.

    Attributes:
        least: Lower bound, included.
        above: In place of `least`: lower bound, excluded.
        most: Upper bound, included.
        below: In place of `most`: upper bound, excluded.
    """

    least: int | float | None = None
    above: int | float | None = None
    most: int | float = math.inf
    below: int | float = math.inf

    def __contains__(self, value: int | float) -> bool:
        """Return whether a number lies in the range."""
        is_enough = value > self.above if self.above is not None else self.least is None or value >= self.least
        return math.isfinite(value) and is_enough and value <= self.most and value < self.below

    def __str__(self) -> str:
        """Return what to give: "at least 1", "a number above 0", "a number from 0 to below 1"."""
        is_open = math.isinf(self.below)  # no excluded upper bound
        upper = _text(self.most) if is_open else f"below {_text(self.below)}"
        if self.above is not None:
            lower = f"a number above {_text(self.above)}"
            return lower if upper == "inf" else f"{lower}, {'up to ' if is_open else ''}{upper}"
        least = _text(self.least or 0)
        return f"at least {least}" if upper == "inf" else f"a number from {least} to {upper}"


def _text(number: int | float) -> str:
    return f"{number:,.15g}"


Size = Annotated[int, Range(least=1)]
Count = Annotated[int, Range(least=0)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(least=0)]
Probability = Annotated[float, Range(least=0, below=1)]
MegapixelLimit = Annotated[float, Range(above=0, below=1e6)]
Share = Annotated[float, Range(least=0, most=1)]


class CheckedSettings:
    """Base of settings dataclasses whose fields declare ranges.

    A subclass with checks of its own calls `super().__post_init__()` first. The keyword `prefix` of a class statement
    is written before a field's name in messages: "model.config.", or "--" where the fields are options.
    """

    _prefix: ClassVar[str] = ""

    def __init_subclass__(cls, prefix: str | None = None) -> None:
        """Take the prefix; without one, that of the base class stays."""
        if prefix is not None:
            cls._prefix = prefix

    def __post_init__(self) -> None:
        """Refuse values outside their ranges.

        Raises:
            InputError: The message names the option or key, the value and the range.
        """
        for name, allowed in _ranges(type(self)).items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                key = f"--{name.replace('_', '-')}" if self._prefix == "--" else f"{self._prefix}{name} is"
                raise InputError(f"{key} {value:.15g}", f"give {allowed}")


@functools.cache
def _ranges(settings: type) -> dict[str, Range]:
    hints = typing.get_type_hints(settings, include_extras=True)
    ranges = {item.name: _range_of(hints[item.name]) for item in dataclasses.fields(settings)}
    return {name: allowed for name, allowed in ranges.items() if allowed is not None}


def _range_of(hint: Any) -> Range | None:
    """Return the range in a type, also of `Size | None`."""
    parts = [*getattr(hint, "__metadata__", ()), *map(_range_of, typing.get_args(hint))]
    return next((part for part in parts if isinstance(part, Range)), None)
