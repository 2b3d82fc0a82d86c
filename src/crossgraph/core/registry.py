"""Registries of models, region encoders and data layouts by name.

A registry is filled by importing the package whose modules register themselves, so a new model or
region encoder is one new file and no edited list.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.core.plugins import load_plugins

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from a name to a `T`, filled by the modules of one package.

    Args:
        kind: What is registered, for messages: "model", "region encoder".
        package: The package whose modules register; imported whole at the first lookup, as plugins are. None where
            only plugins register.
    """

    def __init__(self, kind: str, package: str | None) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`; warns when that replaces another."""

        def decorate(entry: T) -> T:
            if name in self._entries:
                warnings.warn(f"{self.kind} '{name}' is registered twice; the later one is kept", stacklevel=2)
            self._entries[name] = entry
            return entry

        return decorate

    def __getitem__(self, name: str) -> T:
        """Look a name up.

        Raises:
            InputError: No such name; the message suggests the nearest.
        """
        self._load()
        if name not in self._entries:
            raise InputError(f"unknown {self.kind} '{name}'", did_you_mean(name, self._entries))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted."""
        self._load()
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        """Return whether a name is registered."""
        self._load()
        return name in self._entries

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        if self._package is not None:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        load_plugins()
