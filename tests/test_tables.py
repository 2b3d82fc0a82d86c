"""Tables: aligned in plain text, and what has a meaning in a format is escaped in it."""

from __future__ import annotations

import csv
import io
import json

import pytest

from crossgraph.tables import Table, csv_line

FIGURES = Table(["model", "loss", "R@1"], [["sgr", "hinge", "53.1"], ["saf, new", "", "9.0"]], text_columns=2)
HOSTILE = [r"a|b\|c", "50 % & 100 $ of #1_{x}", 'say "no", ~^<>', "two\r\nlines", "[1] – 3×2 → −1 ±…"]


def test_columns_of_markdown_line_up_and_numbers_are_at_the_right():
    assert FIGURES.to_markdown().splitlines() == [
        "| model    | loss  |  R@1 |",
        "| -------- | ----- | ---: |",
        "| sgr      | hinge | 53.1 |",
        "| saf, new |       |  9.0 |",
    ]


def test_unpadded_markdown_has_no_filling():
    assert FIGURES.to_markdown(padded=False).splitlines() == [
        "| model | loss | R@1 |",
        "| --- | --- | ---: |",
        "| sgr | hinge | 53.1 |",
        "| saf, new |  | 9.0 |",
    ]


def test_a_table_without_rows_is_a_header():
    assert Table(["a", "b"], []).to_markdown() == "| a |  b |\n| - | -: |"
    assert Table(["a", "b"], []).to_csv() == "a,b\n"


def test_numbers_and_missing_values_are_written_as_they_are():
    table = Table(["model", "R@1", "seconds"], [["sgr", 53.25, None], ["saf", 7, 0]])
    assert table.to_csv() == "model,R@1,seconds\nsgr,53.25,\nsaf,7,0\n"
    assert json.loads(table.to_json())["rows"] == [["sgr", 53.25, None], ["saf", 7, 0]]
    assert table.to_markdown(padded=False).splitlines()[2:] == ["| sgr | 53.25 |  |", "| saf | 7 | 0 |"]


def test_a_pipe_or_a_line_break_does_not_end_a_cell_of_markdown():
    *_, first, second = Table(["text"], [[HOSTILE[0]], [HOSTILE[3]]]).to_markdown(padded=False).splitlines()
    assert first == r"| a\|b\\\|c |"
    assert second == "| two lines |"


def test_csv_and_json_give_back_every_cell():
    table = Table(["model", "model"], [[cell, cell] for cell in HOSTILE])
    assert list(csv.reader(io.StringIO(table.to_csv(), newline=""))) == [["model"] * 2, *([c, c] for c in HOSTILE)]
    assert json.loads(table.to_json()) == {"columns": ["model"] * 2, "rows": [[c, c] for c in HOSTILE]}


def test_latex_has_the_alignment_and_booktabs_rules():
    assert FIGURES.to_latex().splitlines() == [
        r"\begin{tabular}{llr}",
        r"\toprule",
        r"model & loss & R@1 \\",
        r"\midrule",
        r"sgr & hinge & 53.1 \\",
        r"saf, new &  & 9.0 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize(
    ("cell", "escaped"),
    [
        (HOSTILE[0], r"a\textbar{}b\textbackslash{}\textbar{}c"),
        (HOSTILE[1], r"50 \% \& 100 \$ of \#1\_\{x\}"),
        (HOSTILE[2], r'say "no", \textasciitilde{}\textasciicircum{}\textless{}\textgreater{}'),
        (HOSTILE[3], "two lines"),
        (HOSTILE[4], r"{[}1] -- 3$\times$2 $\rightarrow$ $-$1 $\pm$\ldots{}"),
    ],
)
def test_latex_escapes_what_has_a_meaning_there(cell: str, escaped: str):
    assert Table(["text"], [[cell]]).to_latex().splitlines()[4] == rf"{escaped} \\"


def test_rows_of_another_length_than_the_header_are_no_table():
    with pytest.raises(ValueError, match="argument"):
        Table(["a", "b"], [["1"]]).to_markdown()


def test_a_csv_line_can_be_appended_to_a_file():
    assert csv_line(["a,b", 1.5, None]) == '"a,b",1.5,\n'
