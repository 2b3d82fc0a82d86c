"""Checks of the numeric fields of a model's config."""

from __future__ import annotations

from typing import Any

from crossgraph.core.errors import InputError


def at_least(config: Any, smallest: int, *names: str) -> None:
    """Refuse fields below `smallest`, infinite or NaN.

    Raises:
        InputError: A field is.
    """
    for name in names:
        if not smallest <= getattr(config, name) < float("inf"):
            raise InputError(f"model.config.{name} is {getattr(config, name)}", f"give at least {smallest}")


def above_zero(config: Any, *names: str) -> None:
    """Refuse temperatures and the like that are not above 0.

    Raises:
        InputError: A field is 0 or below.
    """
    for name in names:
        if not getattr(config, name) > 0:
            raise InputError(f"model.config.{name} is {getattr(config, name)}", "give a number above 0")


def probability(config: Any, *names: str) -> None:
    """Refuse dropout probabilities outside 0..1 (1 would drop everything).

    Raises:
        InputError: A field is.
    """
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise InputError(f"model.config.{name} is {getattr(config, name)}", "give a probability from 0 to below 1")
