"""What a payload's fields are compared as."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.store.fields import FIELDS, Texts, comparable, fold, seconds, span


def moment(year: int, *rest: int) -> int:
    return int((datetime.datetime(year, *rest) - datetime.datetime(1, 1, 1)).total_seconds())


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2020", moment(2020, 1, 1), moment(2021, 1, 1)),
        ("2021", moment(2021, 1, 1), moment(2022, 1, 1)),
        ("2020-02", moment(2020, 2, 1), moment(2020, 3, 1)),
        ("2020-12", moment(2020, 12, 1), moment(2021, 1, 1)),
        ("2020-05-03", moment(2020, 5, 3), moment(2020, 5, 4)),
        ("2020-05-03T12", moment(2020, 5, 3, 12), moment(2020, 5, 3, 13)),
        ("2020-05-03 12:30", moment(2020, 5, 3, 12, 30), moment(2020, 5, 3, 12, 31)),
        ("2020-05-03T12:30:15", moment(2020, 5, 3, 12, 30, 15), moment(2020, 5, 3, 12, 30, 16)),
        ("0001", 0, moment(2, 1, 1)),
    ],
)
def test_a_date_names_all_of_its_year_month_day_hour_minute_or_second(text: str, start: int, end: int):
    assert span(text) == (start, end)


def test_the_last_day_of_the_calendar_ends_too():
    assert span("9999-12-31") == (moment(9999, 12, 31), moment(9999, 12, 31) + 86400)
    assert span("9999").end == span("9999-12-31").end == span("9999-12").end


@pytest.mark.parametrize(
    "text", ["", "20", "20x0", "2020-13", "2020-02-30", "0000", "2020-05-03T25", "2020-5-3", "now"]
)
def test_what_names_no_date_is_none(text: str):
    assert span(text) is None


@given(st.datetimes())
def test_when_a_picture_was_taken_is_read_to_the_second(taken: datetime.datetime):
    start = moment(*taken.timetuple()[:6])
    assert seconds(taken.isoformat()) == start
    assert seconds(taken.isoformat() + "+05:30") == seconds(taken.isoformat() + "Z") == start


def test_a_day_alone_is_its_first_second_and_a_date_that_is_none_is_missing():
    assert seconds("2020-05-03") == moment(2020, 5, 3)
    assert seconds("2020-05") == moment(2020, 5, 1)
    assert seconds("unknown") is None


def test_case_and_the_spelling_of_accents_do_not_matter_when_folded():
    assert fold("Straße") == fold("STRASSE")
    assert fold("CAFE\u0301") == fold("café")
    assert fold("a\ud800b") == "a?b"


def test_what_is_of_another_kind_than_its_field_counts_as_missing():
    odd = {"width": True, "height": "3", "megapixels": float("nan"), "latitude": 10**400, "date": 2020, "hidden": 1}
    assert comparable({**odd, "path": 3, "name": None, "caption": [], "colour": "red"}) == {}


def test_several_texts_are_kept_together():
    assert comparable({"caption": ["A dog", "Snow"]}) == {"caption": Texts(("A dog", "Snow"), ("a dog", "snow"))}


def test_every_field_has_a_kind():
    assert set(FIELDS.values()) == {"text", "number", "date", "flag"}
