"""Ranges of settings are declared on the field and checked when the settings are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest

from crossgraph.core.config import build
from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, Count, MegapixelLimit, Positive, Probability, Range, Share, Size


@dataclass(frozen=True)
class Config(CheckedSettings, prefix="model.config."):
    size: Size = 4
    layers: Count = 0
    rate: Positive = 0.1
    dropout: Probability = 0.0
    weight: Share | None = None
    port: Annotated[int, Range(least=0, most=65_535)] = 80
    limit: MegapixelLimit = 200.0
    share: Annotated[float, Range(above=0, most=1)] = 1.0


@dataclass(frozen=True)
class Further(Config):
    steps: Size = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps > self.size:
            raise InputError("more steps than sizes")


@dataclass(frozen=True)
class Options(CheckedSettings, prefix="--"):
    batch_size: Size = 8
    inner: Config = field(default_factory=Config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "model.config.size is 0: give at least 1"),
        ({"layers": -1}, "model.config.layers is -1: give at least 0"),
        ({"rate": 0.0}, "model.config.rate is 0: give a number above 0"),
        ({"rate": float("inf")}, "model.config.rate is inf: give a number above 0"),
        ({"rate": float("nan")}, "model.config.rate is nan: give a number above 0"),
        ({"dropout": 1.0}, "model.config.dropout is 1: give a number from 0 to below 1"),
        ({"weight": 1.5}, "model.config.weight is 1.5: give a number from 0 to 1"),
        ({"port": 70_000}, "model.config.port is 70000: give a number from 0 to 65,535"),
        ({"limit": 1e6}, "model.config.limit is 1000000: give a number above 0, below 1,000,000"),
        ({"share": 0.0}, "model.config.share is 0: give a number above 0, up to 1"),
    ],
)
def test_a_value_outside_its_range_is_refused_with_key_value_and_range(values: dict[str, float], message: str):
    with pytest.raises(InputError) as refused:
        Further(**values)  # type: ignore[arg-type]
    assert str(refused.value) == message


def test_bounds_and_none_are_in_range():
    Further(size=1, layers=0, dropout=0.0, weight=1.0, port=65_535, share=1.0)
    assert Config().weight is None


def test_options_are_named_as_they_are_typed():
    with pytest.raises(InputError, match=r"^--batch-size 0: give at least 1$"):
        Options(batch_size=0)


def test_settings_from_a_file_name_the_file_too():
    for values, message in (
        ({"steps": 0}, "a.yaml: model.config.steps is 0: give at least 1"),
        ({"steps": 5}, "a.yaml: more steps than sizes"),
    ):
        with pytest.raises(InputError) as refused:
            build(Further, values, "a.yaml")
        assert str(refused.value) == message
    with pytest.raises(InputError, match=r"^b\.yaml: model\.config\.size is 0: give at least 1$"):
        build(Options, {"inner": {"size": 0}}, "b.yaml")
