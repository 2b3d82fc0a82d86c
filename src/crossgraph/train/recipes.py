"""Finds recipes by name or path, and reads them with the changes from the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.files import read_text
from crossgraph.models.base import MODELS
from crossgraph.train.config import Recipe

SMALL = "small"
_PACKAGE = Path(__file__).parents[1]
# In an installed wheel, and in a checkout.
_FOLDERS = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def shipped() -> dict[str, Path]:
    """Return the recipes that come with the program, by name."""
    return {path.stem: path for path in _shipped_files() if not is_sweep(path)}


def shipped_sweeps() -> dict[str, Path]:
    """Return the sweeps over recipes that come with the program, by name; see `crossgraph.sweep`."""
    return {path.stem: path for path in _shipped_files() if is_sweep(path)}


def is_sweep(path: Path) -> bool:
    """Whether a file holds variants of a recipe and not a recipe."""
    return any(line.startswith("variants:") for line in read_text(path).splitlines())


def _shipped_files() -> list[Path]:
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return sorted(folder.glob("*.yaml")) if folder else []


def find(name: str, sweep: bool = False) -> Path:
    """Find a recipe or a sweep: a path, or the name of a shipped one.

    Args:
        name: The path or the name.
        sweep: Whether a sweep is wanted, not a recipe.

    Raises:
        InputError: There is none, or it is the other kind; the nearest name is suggested.
    """
    path, noun = Path(name), "sweep" if sweep else "recipe"
    known, others = (shipped_sweeps(), shipped()) if sweep else (shipped(), shipped_sweeps())
    if path.is_file() and (sweep or not is_sweep(path)):
        return path
    if not path.is_dir() and (path.is_file() or name in others):
        if sweep:
            raise InputError(f"{name}: is a recipe, not a sweep", f"crossgraph train {name}")
        raise InputError(f"{name}: is a sweep over recipes", f"crossgraph sweep {name}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder", f"give a {noun}'s file or name ({', '.join(known)})")
    if name in known:
        return known[name]
    raise InputError(f"{name}: no such file and no shipped {noun}", did_you_mean(path.stem, known))


def load(path: Path, overrides: Sequence[str] = (), small: bool = False) -> Recipe:
    """Read a recipe.

    Args:
        path: A YAML file of `Recipe`'s fields, and perhaps a `small` mapping: what to change for a form
            that runs in seconds.
        overrides: `a.b=c` each; they win.
        small: Whether to use the small form.

    Returns:
        The recipe, its model's fields complete.

    Raises:
        InputError: It cannot be read, has an unknown key or an impossible value.
    """
    source = str(path)
    values = configs.parse_yaml(read_text(path), source)
    changes = values.pop(SMALL, None)
    if small:
        if not isinstance(changes, Mapping):
            raise InputError(f"{path}: has no '{SMALL}' form", "leave out --small")
        values = _merged(values, cast("Mapping[str, Any]", changes))
    values = configs.apply_overrides(values, overrides)
    if values.get("precision") == 32:  # YAML's number for what is a name
        values["precision"] = "32"
    return with_model_config(configs.build(Recipe, values, source), source)


def with_model_config(recipe: Recipe, source: str) -> Recipe:
    """Check the model's fields against its `Config` and fill in its defaults.

    Raises:
        InputError: The model is not known, or has no such field.
    """
    config = configs.build(MODELS[recipe.model.name].Config, recipe.model.config, source, "model.config")
    model = dataclasses.replace(recipe.model, config=configs.to_dict(config))
    return dataclasses.replace(recipe, model=model)


def dump(recipe: Recipe) -> str:
    """Return a recipe as YAML that `load` reads back."""
    return yaml.safe_dump(configs.to_dict(recipe), sort_keys=False, allow_unicode=True)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(change, Mapping):
            result[key] = _merged(cast("Mapping[str, Any]", old), cast("Mapping[str, Any]", change))
        else:
            result[key] = change
    return result
