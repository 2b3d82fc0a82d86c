"""What can be asked, and what is refused."""

from __future__ import annotations

import pytest

from crossgraph.core.errors import InputError
from crossgraph.search import Query, parse_query


@pytest.mark.parametrize(
    ("written", "wanted", "minus"),
    [
        ("a beach -people", "a beach", ("people",)),
        ('a street -"red car" -snow', "a street", ("red car", "snow")),
        ("-people a beach", "a beach", ("people",)),
        ("a well-known t-shirt", "a well-known t-shirt", ()),
        ("a dog - not a cat", "a dog - not a cat", ()),
        ("snow -a -a", "snow", ("a",)),
        ("-people", "", ("people",)),
        ("  two   dogs ", "two dogs", ()),
    ],
)
def test_a_minus_before_a_word_takes_it_away(written, wanted, minus):
    assert parse_query(written) == (wanted, minus)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "nothing is asked"),
        ({"text": "   "}, "nothing is asked"),
        ({"minus": ("people",)}, "a filter or a minus alone"),
        ({"text": "dog " * 10_000}, "10,000 words"),
        ({"text": "x" * 100_000}, "at most 200"),
        ({"text": "dog", "minus": ("cat " * 300,)}, "300 words"),
        ({"text": "dog", "k": 0}, "1 to 1,000"),
        ({"text": "dog", "k": 1001}, "1 to 1,000"),
        ({"text": "dog", "picture_weight": 1.5}, "picture_weight is 1.5"),
        ({"text": "dog", "min_probability": -0.1}, "min_probability is -0.1"),
        ({"text": "dog", "min_probability": float("nan")}, "min_probability is nan"),
        ({"like": (1,), "min_probability": 0.5}, "without words"),
        ({"text": "dog", "recall": 0.0}, "recall is 0"),
        ({"text": "dog", "recall": 1.1}, "recall is 1.1"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_reason(values, problem):
    with pytest.raises(InputError, match=problem):
        Query(**values)
