"""Settings are checked strictly and every refusal names the source, the key and the remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.core.config import apply_overrides, build, parse_yaml, to_dict
from crossgraph.core.errors import InputError


@dataclass(frozen=True)
class Schedule:
    kind: Literal["constant", "step"] = "step"
    every: int = 15
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}, but must be 1 or more")


@dataclass(frozen=True)
class Settings:
    rate: float
    schedule: Schedule = field(default_factory=Schedule)
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    span: tuple[int, float] = (1, 2.0)
    name: str | None = None
    clip: float | Literal["off"] = 2.0
    bias: bool = True
    vectors: Path | None = None
    weights: dict[str, float] = field(default_factory=dict)


def settings(**values: Any) -> Settings:
    return build(Settings, {"rate": 0.1, **values}, "r.yaml")


def refusal(**values: Any) -> str:
    with pytest.raises(InputError) as refused:
        settings(**values)
    return str(refused.value)


def test_what_is_not_given_keeps_its_default():
    assert settings() == Settings(rate=0.1)


def test_values_reach_nested_settings_and_take_the_declared_types():
    made = settings(rate=1, schedule={"every": 3}, span=[4, 5], vectors="glove.txt", weights={"a": 1}, clip="off")
    assert made.schedule == Schedule(every=3)
    assert made.span == (4, 5.0)
    assert isinstance(made.rate, float)
    assert made.vectors == Path("glove.txt")
    assert made.weights == {"a": 1.0}
    assert made.clip == "off"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"schedule": {"evry": 3}}, ["r.yaml", "'schedule.evry'", "did you mean 'every'?"]),
        ({"schedule": {"kind": "stpe"}}, ["'schedule.kind'", "'stpe'", "did you mean 'step'?"]),
        ({"schedule": 3}, ["schedule", "a whole number"]),
        ({"rate": "fast"}, ["'rate'", "'fast'", "a number"]),
        ({"rate": True}, ["'rate'", "true or false"]),
        ({"rate": float("nan")}, ["'rate'", "finite"]),
        ({"rate": None}, ["'rate'", "empty"]),
        ({"sizes": [1, "2"]}, ["'sizes[1]'", "a whole number"]),
        ({"sizes": 3}, ["'sizes'", "a list"]),
        ({"span": [1]}, ["'span'", "1 values, not 2"]),
        ({"bias": 1}, ["'bias'", "true or false"]),
        ({"schedule": {"every": 0}}, ["schedule: every is 0, but must be 1 or more"]),
        ({"weights": {"a": "b"}}, ["'weights.a'"]),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(values: dict[str, Any], words: list[str]):
    line = refusal(**values)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_a_missing_value_is_named():
    with pytest.raises(InputError, match=r"r\.yaml: 'rate' is missing"):
        build(Settings, {}, "r.yaml")


@given(
    st.builds(
        Settings,
        rate=st.floats(allow_nan=False, allow_infinity=False),
        schedule=st.builds(Schedule, every=st.integers(1, 9)),
        sizes=st.lists(st.integers()),
        name=st.none() | st.text(),
        vectors=st.none() | st.just(Path("a/b")),
        weights=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_plain_values_give_the_same_settings_back(made: Settings):
    assert build(Settings, to_dict(made), "itself") == made


def test_yaml_numbers_may_be_written_with_an_exponent_alone():
    assert parse_yaml("rate: 2e-4", "r.yaml") == {"rate": 2e-4}
    assert parse_yaml("a: -1e3\nb: +.5\nc: .5\nd: 1_000.5\ne: .inf", "r.yaml") == {
        "a": -1e3,
        "b": "+.5",
        "c": 0.5,
        "d": 1000.5,
        "e": float("inf"),
    }
    assert parse_yaml("", "r.yaml") == {}


def test_yaml_dates_and_names_are_text():
    text = "a: 2024-05-01\nb: e3\nc: 1e\nd: 1-2"
    assert parse_yaml(text, "r.yaml") == {"a": "2024-05-01", "b": "e3", "c": "1e", "d": "1-2"}


@pytest.mark.parametrize("text", ["- 1\n- 2", "just words", "a: [1, 2", "a: b: c", "1: 2", "a:\n  2: 3"])
def test_what_is_not_settings_is_refused_in_one_line(text: str):
    with pytest.raises(InputError) as refused:
        parse_yaml(text, "r.yaml")
    assert str(refused.value).startswith("r.yaml: ")
    assert "\n" not in str(refused.value)


def test_overrides_set_dotted_keys_and_leave_the_original_alone():
    values = {"model": {"dim": 256, "steps": 3}, "rate": 1}
    changed = apply_overrides(values, ["--model.dim=64", "model.kind=saf", "train.warm-up=2e-1", "rate=null"])
    assert changed == {"model": {"dim": 64, "steps": 3, "kind": "saf"}, "train": {"warm_up": 0.2}, "rate": None}
    assert values == {"model": {"dim": 256, "steps": 3}, "rate": 1}


@pytest.mark.parametrize("override", ["dim", "=3", "a..b=3", "rate.x=3", "a=[1", "--=1"])
def test_an_override_that_sets_nothing_is_refused(override: str):
    with pytest.raises(InputError):
        apply_overrides({"rate": 1}, [override])
