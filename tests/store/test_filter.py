"""What filters mean, and how they are read and written."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from references.drawn_filters import Drawn, drawn_filters, payloads, tree

from crossgraph.core.errors import InputError
from crossgraph.store.fields import FIELDS
from crossgraph.store.filter import (
    And,
    Compare,
    Filter,
    FilterError,
    Not,
    Or,
    all_of,
    matches,
    parse_filter,
    write_filter,
)

PICTURE = {
    "path": "Holiday/Alps/IMG_1.JPG",
    "date": "2020-05-03T12:30:00",
    "width": 4000,
    "latitude": -33.5,
    "camera": "Canon EOS",
    "caption": ["A dog runs", "Snow everywhere"],
    "hidden": False,
}


@pytest.mark.parametrize(
    "text",
    [
        "path ~ 'alps'",
        "path ~ alps",
        'PATH ~ "ALPS/img"',
        "camera = 'Canon EOS'",
        "camera != Canon",
        "width >= 4000 and width <= 4000 and width = 4000.0 and width > 3999.5 and width < 4e3 or width = 4000",
        "latitude < -33",
        "date >= 2020 and date <= 2020 and date = 2020 and not date > 2020 and not date < 2020",
        "date < 2020-06 and date > 2020-04 and date = 2020-05 and date != 2020-06",
        "date = 2020-05-03T12:30 and date < 2020-05-03T12:31 and date = '2020-05-03 12'",
        "hidden = false and hidden != TRUE",
        "caption ~ dog and caption ~ snow and caption = 'A dog runs' and caption != dog",
        "not (width < 10 or height < 10)",
        "not height < 10 and not height >= 10 and not height != 10",
        "not not width > 1",
        "path ~ ''",
    ],
)
def test_what_holds_for_the_picture(text: str):
    assert matches(parse_filter(text), PICTURE)


@pytest.mark.parametrize(
    "text",
    [
        "path = 'holiday/alps/img_1.jpg'",
        "path ~ 'alps '",
        "date > 2020",
        "date < 2020",
        "date != 2020-05",
        "date > 2020-05-03",
        "width > 4000 or width < 4000",
        "height != 10",
        "name ~ ''",
        "hidden = true",
        "caption ~ 'runssnow'",
        "not hidden = false",
    ],
)
def test_what_does_not_hold_for_the_picture(text: str):
    assert not matches(parse_filter(text), PICTURE)


def test_and_binds_more_than_or_and_not_most():
    assert parse_filter("width > 1 or width > 2 and not width > 3") == Or(
        (Compare("width", ">", 1), And((Compare("width", ">", 2), Not(Compare("width", ">", 3)))))
    )


def test_quotes_may_hold_the_other_quote_or_be_escaped():
    for text in ("""path = "it's" """, r"path = 'it\'s'"):
        assert parse_filter(text) == Compare("path", "=", "it's")
    assert parse_filter(r"path ~ 'C:\new'") == parse_filter(r"path ~ 'C:\\new'") == Compare("path", "~", r"C:\new")


@given(drawn_filters)
def test_what_is_written_reads_the_same(drawn: Drawn):
    filter = tree(drawn)
    assert parse_filter(write_filter(filter)) == filter


@given(drawn_filters, payloads)
def test_every_filter_means_something_for_every_payload(drawn: Drawn, payload: dict):
    filter = tree(drawn)
    assert matches(Not(filter), payload) == (not matches(filter, payload))
    assert matches(And((filter, Not(filter))), payload) is False
    assert matches(Or((filter, Not(filter))), payload) is True


@given(drawn_filters)
def test_of_a_picture_without_fields_no_comparison_holds(drawn: Drawn):
    filter = tree(drawn)

    def value(part: Filter) -> bool:
        if isinstance(part, And | Or):
            return (all if isinstance(part, And) else any)(value(one) for one in part.parts)
        return isinstance(part, Not) and not value(part.part)

    assert matches(filter, {}) == value(filter)


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("", 0, "a field was expected"),
        ("   ", 3, "a field was expected"),
        ("date >=", 7, "a value was expected"),
        ("date >= 20x0", 8, "'20x0' is none"),
        ("date >= 2020-13", 8, "2020-05-03"),
        ("width ~ 3", 6, "use =, !=, <, <=, > or >="),
        ("date ~ 2020", 5, "'~' does not compare"),
        ("camera < b", 7, "use =, != or ~"),
        ("width = '3'", 8, "write a number"),
        ("width = nan", 8, "'nan' is none"),
        ("width > 1e999", 8, "'1e999' is none"),
        ("hidden = 1", 9, "write true or false"),
        ("wdth > 3", 0, "did you mean 'width'?"),
        ("width > 3 height > 4", 10, "'and', 'or' or the end was expected"),
        ("width > 3 and", 13, "a field was expected"),
        ("and", 0, "a field was expected"),
        ("width == 3", 7, "a value was expected"),
        ("width = and", 8, "a value was expected"),
        ("width 3", 6, "write one of = != < <= > >= ~"),
        ("(width > 3", 0, "not closed"),
        ("(width > 3 width", 11, "')' was expected"),
        ("width > 3)", 9, "closes nothing"),
        ("path ~ 'alps", 7, "quote is not closed"),
        ("! width", 0, "write !="),
        ("not", 3, "a field was expected"),
    ],
)
def test_what_cannot_be_read_names_the_character(text: str, position: int, said: str):
    with pytest.raises(FilterError, match=f"^filter, character {position + 1} ") as caught:
        parse_filter(text)
    assert caught.value.position == position
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_character_is_shown_between_marks_with_its_neighbourhood():
    with pytest.raises(FilterError, match="width »~« 3"):
        parse_filter("width ~ 3")
    with pytest.raises(FilterError, match=r"\(….{24}»~«"):
        parse_filter("width > 1 and width > 2 and width > 3 and width ~ 3")


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from([*FIELDS, "=", "~", "(", ")", "not", "and", "'", "3"])).map(" ".join)
)
def test_any_text_is_a_filter_or_refused_in_one_line(text: str):
    try:
        parse_filter(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)
        assert str(error).isprintable()


@pytest.mark.parametrize("text", ["(" * 5000, "not " * 5000, "(" * 61 + "width > 1" + ")" * 61])
def test_what_is_nested_too_deeply_is_refused(text: str):
    with pytest.raises(FilterError, match="more than 60 levels"):
        parse_filter(text)


def test_a_long_filter_of_many_parts_is_read():
    assert len(parse_filter(" or ".join(["width > 3"] * 5000)).parts) == 5000


def test_errors_survive_the_trip_between_processes():
    with pytest.raises(FilterError) as caught:
        parse_filter("width ~ 3")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.position, copy.length) == (str(caught.value), 6, 1)


def test_filters_made_in_python_are_checked_too():
    for field, op, value in [("wdth", ">", 3), ("width", "~", "3"), ("width", ">", "3"), ("date", "=", "soon")]:
        with pytest.raises(InputError):
            Compare(field, op, value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two parts"):
        And(())


def test_filters_are_joined():
    one, other = parse_filter("width > 1"), parse_filter("hidden = true")
    assert all_of([None, one, None, other]) == And((one, other))
    assert all_of([None, one]) == one
    assert all_of([]) is None
