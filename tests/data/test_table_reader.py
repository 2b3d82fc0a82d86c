"""Tables are read strictly: a lost quote is named by its line, and whole quoted fields are read as they are."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossgraph.core.errors import InputError
from crossgraph.data.table_reader import read_table

PATH = Path("captions.csv")
ROWS = [[f"p{number:02d}.jpg", f"a red car on the road number {number}"] for number in range(20)]


def read(text: str, names: tuple[str, ...] = ("image",)) -> list[tuple[int, list[str]]]:
    return [(line, [field for _, field in row]) for line, row in read_table(text, PATH, names)]


def table(rows: list[list[str]], delimiter: str = ",", header: tuple[str, ...] = ("image", "caption")) -> str:
    return "".join(delimiter.join(row) + "\n" for row in [list(header), *rows])


def with_captions(changes: dict[int, str], rows: list[list[str]] = ROWS) -> list[list[str]]:
    return [[name, changes.get(number, caption)] for number, (name, caption) in enumerate(rows)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "changes",
    [
        {3: '"a cat on a sofa'},  # never closed
        {3: '"a cat', 9: '"a boat'},  # "closed" by another lone quote, in the midst of a row
        {3: '"a cat', 9: 'a boat"'},  # "closed" where a field ends
        {3: '"a cat', 4: '"a boat, near"'},
        {3: '"a cat', 4: '"""Hi"" it says"'},
        {3: '"a cat', 4: '""'},
        {3: '"a ""cat', 19: 'the end"'},
    ],
)
def test_a_quote_that_takes_rows_is_refused_with_the_line_on_which_it_opens(
    delimiter: str, changes: dict[int, str]
) -> None:
    with pytest.raises(InputError, match=r"line 5: (a|the) quote .*(not closed|takes the rows below it)"):
        read(table(with_captions(changes), delimiter))


@pytest.mark.parametrize("names", ["{}.jpg", "{}", "17_{}", "COCO_val_{}", "shots/{}"])
def test_rows_inside_a_quote_are_known_by_the_picture_s_name(names: str) -> None:
    rows = [[names.format(391895 + number), caption] for number, (_, caption) in enumerate(ROWS)]
    with pytest.raises(InputError, match="line 5"):
        read(table(with_captions({3: '"a cat', 6: 'a boat"'}, rows)))
    with pytest.raises(InputError, match="line 5"):
        read(
            table([row[::-1] for row in with_captions({3: '"a cat', 6: 'a boat"'}, rows)], header=("caption", "image"))
        )


def test_names_that_look_like_words_are_known_by_their_number() -> None:
    rows = [[word, "a, b".replace(",", "")] for word in ("dog", "cat", "cow", "hen", "ant", "bee")]
    with pytest.raises(InputError, match="line 3"):
        read(table(with_captions({1: '"a cat', 4: 'an ant"'}, rows)))


def test_a_lost_quote_far_beyond_the_limit_of_csv_is_found() -> None:
    rows = [row for _ in range(400) for row in ROWS]
    text = table(with_captions({7: '"a sign'}, rows))
    assert len(text) > 2 * csv.field_size_limit()
    with pytest.raises(InputError, match="line 9"):
        read(text)
    with pytest.raises(InputError, match="line 9"):
        read(table(with_captions({7: '"a sign', 5900: 'a sign"'}, rows)))


@pytest.mark.parametrize(
    "caption",
    [
        "A dog, running\nand a cat, sleeping",
        'She said "stop, now", and\nwent',
        "One\n\nTwo\nThree, four, five; six",
        'a 5" disk',
        "x" * 200_000,
        '"',
        "a dog,\nrunning, fast",
    ],
)
def test_a_whole_quoted_caption_reads_as_written(caption: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["image", "caption"], ["a.jpg", caption], ["b.jpg", "end"]])
    assert [row for _, row in read(out.getvalue())] == [["a.jpg", caption], ["b.jpg", "end"]]
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["image", "caption"], ["a.jpg", caption]])
    assert [row for _, row in read(out.getvalue())] == [["a.jpg", caption]]


@pytest.mark.parametrize(
    ("written", "caption"),
    [
        ('a 5" disk', 'a 5" disk'),
        ('a 5" disk and a 3" disk', 'a 5" disk and a 3" disk'),
        ('"Stop" says the sign', "Stop says the sign"),
        (' "a dog, running" ', "a dog, running"),
    ],
)
def test_quotes_inside_a_line_are_no_loss(written: str, caption: str) -> None:
    assert read(table([["a.jpg", written], ["b.jpg", "end"]])) == [(2, ["a.jpg", caption]), (3, ["b.jpg", "end"])]


def test_lines_are_counted_through_quoted_line_breaks_and_blank_lines() -> None:
    text = 'image,caption\n\na.jpg,"one\ntwo"\n\nb.jpg,three\n'
    assert read(text) == [(3, ["a.jpg", "one\ntwo"]), (6, ["b.jpg", "three"])]


def test_columns_of_one_name_are_all_kept() -> None:
    rows = list(read_table("Image,Caption,Caption\na.jpg,one,two\n", PATH, ("image",)))
    assert rows == [(2, [("image", "a.jpg"), ("caption", "one"), ("caption", "two")])]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p1.jpg| 1   a car", r"line 3 has 2 of 3 fields: give it all of them .*: a bar is missing"),
        ("p1.jpg| 1| a car| a dog", r"line 3 has 4 of 3 fields: put the caption in quotes where it holds a bar"),
    ],
)
def test_a_row_with_a_field_too_few_or_too_many_is_named(row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(f"image| number| caption\np0.jpg| 0| a dog\n{row}\n")


def test_empty_fields_beyond_the_header_are_no_fields() -> None:
    assert read("image,caption\na.jpg,one,,\n") == [(2, ["a.jpg", "one"])]


TEXT = st.text(st.sampled_from('ab ,;"\n'), max_size=12)


@given(st.lists(st.tuples(st.integers(0, 99), TEXT, TEXT), min_size=1, max_size=6))
def test_what_csv_writes_is_read_as_it_was_or_refused(rows: list[tuple[int, str, str]]) -> None:
    given_rows = [[f"p{number}.jpg", first.strip(" "), second.strip(" ")] for number, first, second in rows]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["image", "caption", "more"], *given_rows])
    assert [row for _, row in read(out.getvalue())] == given_rows
