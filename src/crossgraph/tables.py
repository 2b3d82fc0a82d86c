"""Tables as Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Cell = str | int | float | None
"""None is an empty cell."""


@dataclass(frozen=True)
class Table:
    """A table of text and numbers.

    Attributes:
        columns: Names of the columns.
        rows: Cells of each row, one a column.
        text_columns: How many of the first columns are aligned to the left; the others are aligned to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: int = 1

    def to_markdown(self, padded: bool = True) -> str:
        """Return the table as Markdown, without a final newline.

        Args:
            padded: Pad the cells, so that columns line up in plain text too.
        """
        lines = [[_escape_markdown(_text(cell)) for cell in row] for row in (self.columns, *self.rows)]
        if not padded:
            rule = ["---" if column < self.text_columns else "---:" for column in range(len(self.columns))]
        else:
            least = [1 if column < self.text_columns else 2 for column in range(len(self.columns))]  # "-" and "-:"
            widths = [max(least[i], *map(len, cells)) for i, cells in enumerate(zip(*lines, strict=True))]
            lines = [[self._pad(cell, widths[i], i) for i, cell in enumerate(line)] for line in lines]
            rule = [self._pad("", width, i, "-") for i, width in enumerate(widths)]
            rule[self.text_columns :] = [f"{dashes[1:]}:" for dashes in rule[self.text_columns :]]
        return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))

    def to_csv(self) -> str:
        """Return the table as CSV, the names of the columns first."""
        return "".join(csv_line(row) for row in (self.columns, *self.rows))

    def to_json(self) -> str:
        """Return the table as a JSON object with the lists "columns" and "rows"; names of columns may repeat."""
        values = {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}
        return json.dumps(values, ensure_ascii=False, allow_nan=False, indent=2) + "\n"

    def to_latex(self) -> str:
        r"""Return the table as a LaTeX `tabular` with the rules of the package booktabs."""
        alignment = "".join("l" if column < self.text_columns else "r" for column in range(len(self.columns)))
        head, *lines = (
            " & ".join(_text(cell).translate(_LATEX) for cell in row) + r" \\" for row in (self.columns, *self.rows)
        )
        begin, end = rf"\begin{{tabular}}{{{alignment}}}", r"\end{tabular}"
        return "\n".join([begin, r"\toprule", head, r"\midrule", *lines, r"\bottomrule", end]) + "\n"

    def _pad(self, cell: str, width: int, column: int, fill: str = " ") -> str:
        return cell.ljust(width, fill) if column < self.text_columns else cell.rjust(width, fill)


def csv_line(cells: Iterable[Cell]) -> str:
    """Return one line of a CSV file, with its newline."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _text(cell: Cell) -> str:
    """Return a cell on one line: neither Markdown nor LaTeX can break a line within a cell."""
    return "" if cell is None else re.sub(r"\s*[\r\n]+\s*", " ", str(cell))


def _escape_markdown(text: str) -> str:
    # Backslashes right before a pipe are doubled: an odd number of them would otherwise be taken for its escape.
    return re.sub(r"(\\*)\|", lambda match: rf"{match[1]}{match[1]}\|", text)


# "[" and "*" right after the "\\" that ends a row would be taken for its arguments.
_LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%$#_{}"}
    | {character: f"{{{character}}}" for character in "[*"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "—": "---", "…": r"\ldots{}"}
    | {"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "→": r"$\rightarrow$", "≤": r"$\leq$", "≥": r"$\geq$"}
)
