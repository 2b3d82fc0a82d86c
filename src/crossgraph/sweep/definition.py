"""Reads sweep files and builds the recipe of each training, all checked before any of them trains.

A sweep is a YAML file of these fields beside the recipes: a base recipe, and variants that set dotted keys of it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossgraph.core import config as configs
from crossgraph.core.errors import InputError, did_you_mean
from crossgraph.files import read_text
from crossgraph.train import recipes
from crossgraph.train.config import Recipe

LOGS = "logs"
RESERVED = (LOGS, "table.md", "table.json", "table.csv")  # the sweep's own, beside the runs


@dataclass(frozen=True)
class Reported:
    """What a paper reports for a variant, in percent; None where it reports nothing.

    Attributes:
        i2t_r1: R@1, image to text.
        t2i_r1: R@1, text to image.
    """

    i2t_r1: float | None = None
    t2i_r1: float | None = None


@dataclass(frozen=True)
class Variant:
    """One row: a change of the base recipe, or an ensemble of other rows.

    Attributes:
        name: Its folder, and its name on the command line.
        label: What varies, in words.
        table: Of the paper, where it has one ("3" or "3, 4").
        base: A recipe by name or path, where it is not the sweep's.
        overrides: Dotted keys of the recipe and their values.
        ensemble: Names of variants whose score matrices are averaged; such a row trains nothing.
        reported: The paper's own figures.
    """

    name: str
    label: str = ""
    table: str = ""
    base: str = ""
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    ensemble: list[str] = field(default_factory=list[str])
    reported: Reported = field(default_factory=Reported)


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        title: Of the table.
        base: The recipe that variants change, by name or by a path (from the sweep's folder or from here).
        variants: In the table's order.
        overrides: Dotted keys that all variants share; a variant's own win.
        seeds: Each variant is trained once with each.
        baseline: The variant that `crossgraph versus` compares the best of the others with.
        paper: The paper whose figures are shown beside ours, as people cite it.
        paper_data: What they were measured on.
    """

    title: str
    base: str
    variants: list[Variant]
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    seeds: list[int] = field(default_factory=lambda: [0])
    baseline: str = ""
    paper: str = ""
    paper_data: str = ""

    def __getitem__(self, name: str) -> Variant:
        """Return a variant by its name.

        Raises:
            InputError: There is none; the nearest is suggested.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise InputError(f"no variant '{name}'", did_you_mean(name, [variant.name for variant in self.variants]))

    def only(self, names: Sequence[str]) -> list[Variant]:
        """Return the variants of these names and the members of ensembles among them, in the table's order.

        Raises:
            InputError: There is no such variant.
        """
        wanted = {member for name in names for member in [name, *self[name].ensemble]}
        return [variant for variant in self.variants if not names or variant.name in wanted]


@dataclass(frozen=True)
class Planned:
    """One training of a sweep.

    Attributes:
        variant: The row it belongs to.
        seed: Of the training.
        recipe: All that decides what it computes.
        base: The recipe's file or shipped name, as an argument of `crossgraph train`.
        overrides: `a.b=c` each, as options of `crossgraph train`.
    """

    variant: Variant
    seed: int
    recipe: Recipe
    base: str
    overrides: list[str]


def load(path: Path) -> Sweep:
    """Read a sweep file; its recipes are built by `plan`.

    Raises:
        InputError: It cannot be read, has an unknown key, a name that is no folder's, or one twice.
    """
    source = str(path)
    values = configs.parse_yaml(read_text(path), source)
    if "variants" not in values:
        raise InputError(f"{source}: has no 'variants'", f"a recipe is trained by: crossgraph train {source}")
    sweep = configs.build(Sweep, values, source)
    if not sweep.variants or not sweep.seeds:
        raise InputError(f"{source}: '{'seeds' if sweep.variants else 'variants'}' is empty", "name at least one")
    if len(set(sweep.seeds)) < len(sweep.seeds) or min(sweep.seeds) < 0:
        raise InputError(f"{source}: seeds {sweep.seeds}", "give each once, from 0 up")
    _check_names(sweep, source)
    for where, overrides in [("overrides", sweep.overrides), *((v.name, v.overrides) for v in sweep.variants)]:
        for key, value in overrides.items():
            if isinstance(value, Mapping):
                raise InputError(f"{source}: {where}: '{key}' holds keys", f"write {key}.KEY: VALUE, dotted")
            if key == "seed":
                raise InputError(f"{source}: {where}: sets 'seed'", "list the sweep's seeds under 'seeds'")
    return sweep


def plan(sweep: Sweep, path: Path, overrides: Sequence[str], small: bool) -> list[Planned]:
    """Build the recipe of every training.

    Args:
        sweep: As `load` gave it.
        path: Its file, for messages and for bases beside it.
        overrides: `a.b=c` each, for all variants; they win.
        small: Whether to take the bases' small forms.

    Raises:
        InputError: A base is missing, or a variant sets what no recipe has or no training can use.
    """
    if any(override.removeprefix("--").partition("=")[0] == "seed" for override in overrides):
        raise InputError("--seed would be every run's", "list the seeds under 'seeds' in the sweep file")
    planned: list[Planned] = []
    for variant in sweep.variants:
        if variant.ensemble:
            continue
        own = {**sweep.overrides, **variant.overrides}
        words = [f"{key}={_typed(value)}" for key, value in own.items()]
        words += [override.removeprefix("--") for override in overrides]
        base = _base(variant.base or sweep.base, path)
        try:
            recipe = recipes.load(recipes.find(base), words, small)
        except InputError as error:
            raise InputError(f"{path}: variant '{variant.name}': {error.problem}", error.remedy) from error
        for seed in sweep.seeds:
            options = [*words, f"seed={seed}"] if seed != recipe.seed else words
            planned.append(Planned(variant, seed, dataclasses.replace(recipe, seed=seed), base, options))
    return planned


def _check_names(sweep: Sweep, source: str) -> None:
    """Check that names are unique and can be folders', and that members of ensembles exist."""
    seen: dict[str, Variant] = {}
    for variant in sweep.variants:
        name = variant.name
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or name.lower() in RESERVED:
            raise InputError(f"{source}: variant '{name}' cannot be a folder's name", "use letters, digits and - . _ +")
        if name.lower() in seen:
            raise InputError(f"{source}: two variants are called '{name}'", "give each a name of its own")
        seen[name.lower()] = variant
    for variant in sweep.variants:
        if variant.ensemble and (variant.overrides or variant.base):
            raise InputError(
                f"{source}: variant '{variant.name}': an ensemble trains nothing", "leave out what it sets"
            )
        for member in variant.ensemble:
            other = seen.get(member.lower())
            if other is None or other.name != member or other.ensemble:
                names = [entry.name for entry in sweep.variants if not entry.ensemble]
                hint = did_you_mean(member, names)
                raise InputError(f"{source}: variant '{variant.name}': no training is called '{member}'", hint)
        if len(variant.ensemble) == 1 or len(set(variant.ensemble)) < len(variant.ensemble):
            raise InputError(
                f"{source}: variant '{variant.name}': an ensemble of {variant.ensemble}", "name two or more"
            )
    if sweep.baseline and sweep.baseline not in [variant.name for variant in sweep.variants]:
        hint = did_you_mean(sweep.baseline, [variant.name for variant in sweep.variants])
        raise InputError(f"{source}: 'baseline' is '{sweep.baseline}', no variant", hint)


def _typed(value: object) -> str:
    """Return a value as a person would type it behind `--key=`."""
    plain = isinstance(value, str) and re.fullmatch(r"[\w.+-]+", value)
    if plain and configs.parse_yaml(f"value: {value}", "")["value"] == value:
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _base(name: str, path: Path) -> str:
    """Return a base recipe as `crossgraph train` finds it: a file beside the sweep first."""
    beside = path.parent / name
    return str(beside) if beside.is_file() else name
