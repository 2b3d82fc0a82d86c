"""Prints the demo's tables, retrieved pictures and closing words to stdout."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossgraph.demo.measures import Row
from crossgraph.demo.retrieved import Retrieved
from crossgraph.sweep.cards import format_duration

_WIDTH = 80
_FIGURES = {"i2t R@1": "image→text R@1", "t2i R@1": "text→image R@1", "rSum": "rSum"}


class Reporter:
    """Prints to stdout, wide enough for the tables where stdout is no terminal."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        self._console = Console(width=None if is_terminal else _WIDTH, highlight=False)

    def tables(self, rows: Sequence[Row]) -> None:
        """Print retrieval on both splits and the pairs told apart, with 95 % intervals."""
        self._retrieval("Ordinary pictures", [(row.name, row.test) for row in rows])
        self._retrieval("Hard pictures, each with a twin", [(row.name, row.hard) for row in rows])
        first = rows[0].pairs
        self._title("Hard pictures told apart from their twins, by what differs (number of pairs)")
        table = _table()
        for factor, contrast in first.items():
            table.add_column(f"{factor} ({contrast.groups})", justify="right")
        for row in rows:
            table.add_row(row.name, *(_with_interval(pair.accuracy, pair.interval) for pair in row.pairs.values()))
        self._console.print(table)
        self._console.print(
            "\nR@1: share of queries, in percent, whose best answer is right; rSum: of R@1, R@5 and\n"
            "R@10 both ways, at most 600. Told apart: how often the right one of two wins, asked\n"
            "both ways. In brackets: 95 % intervals.\n"
            "The bag of objects knows which words a picture suggests, not what belongs to what.\n"
            "SGR and SAF compare words with regions, so they know which thing is red; where a\n"
            "region lies they are not told, so 'left of' stays a guess.",
            markup=False,
            soft_wrap=True,
        )

    def _title(self, title: str) -> None:
        self._console.print(f"\n[bold]{escape(title)}[/]", soft_wrap=True)

    def _retrieval(self, title: str, cards: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        whole = cards[0][1]["results"]["whole"]
        self._title(f"{title}: {whole['images']} pictures, {whole['captions']} sentences")
        table = _table()
        for head in _FIGURES.values():
            table.add_column(head, justify="right")
        for name, card in cards:
            table.add_row(name, *(_figure(card, figure) for figure in _FIGURES))
        self._console.print(table)

    def retrieved(self, results: Sequence[Retrieved], sheet: Path) -> None:
        """Print the best pictures for a few sentences."""
        self._console.print("\n[bold]What the two models together find among the test pictures[/]")
        for result in results:
            self._console.print(f"\n[bold]“{escape(result.sentence)}”[/]")
            for rank, hit in enumerate(result.hits, start=1):
                mark = "[green]✓[/]" if hit.right else " "
                caption = f"[dim]“{escape(hit.caption)}”[/]"
                self._console.print(f"  {rank}. {mark} {escape(hit.image)}  {hit.score:.2f}  {caption}", soft_wrap=True)
        self._console.print(f"\nThe same as pictures: {sheet}", markup=False, soft_wrap=True)

    def closing(self, out: Path, results: Sequence[Retrieved], seconds: Mapping[str, float]) -> None:
        """Print the seconds of each step, the path of the page, and what to type next."""
        shown = next((result for result in results if result.hits[0].right), results[0])
        pair = shlex.join([str(shown.hits[0].path), shown.sentence])
        spent = ", ".join(f"{step} {format_duration(length)}" for step, length in seconds.items())
        self._console.print(
            f"\nDone in {format_duration(sum(seconds.values()))}: {spent}.", markup=False, soft_wrap=True
        )
        self._console.print(
            f"""
Everything on one page, with what each word looked at: {out / "report.html"}
One pair as a figure:

  crossgraph explain {out / "runs" / "saf"} {pair} --out why.png

The pictures searched, and shown in a browser:

  crossgraph search {shlex.quote(shown.sentence)} --library {out / "library"} --explain -k 3
  crossgraph serve --library {out / "library"}

Now with pictures of your own: put captions.csv (columns image, caption) beside them, and type

  crossgraph extract photos --out photos/features
  crossgraph train sgraf-sgr-f8k --data photos --out runs/mine
  crossgraph evaluate runs/mine --data photos --split test
  crossgraph report runs/mine --data photos --out report.html

The demo's files: {out / "scenes"} (pictures, captions, boxes), {out / "runs"} (two models),
{out / "cards"} (results).""",
            markup=False,
            soft_wrap=True,
        )


def _table() -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column("", min_width=14, no_wrap=True)
    return table


def _figure(card: Mapping[str, Any], name: str) -> str:
    whole = card["results"]["whole"]
    return _with_interval(whole["figures"][name], whole["intervals"][name])


def _with_interval(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:.1f} [dim]\\[{low:.0f}–{high:.0f}][/]"
