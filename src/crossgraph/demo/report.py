"""The demo's tables and closing words, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossgraph.demo.found import Found
from crossgraph.demo.numbers import Row

_WIDTH = 108
_RECALLS = ("i2t R@1", "i2t R@5", "t2i R@1", "t2i R@5")
_HEADS = {"i2t R@1": "image→text\nR@1", "i2t R@5": "\nR@5", "t2i R@1": "text→image\nR@1", "t2i R@5": "\nR@5"}
_ALONE = ("chance", "bag of objects")


class Reporter:
    """Prints to stdout, wide enough for the tables where stdout is no terminal."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        self._console = Console(width=None if is_terminal else _WIDTH, highlight=False)

    def tables(self, rows: Sequence[Row]) -> None:
        """Print both splits' tables, with 95 % intervals."""
        test, hard = rows[0].test["results"]["whole"], rows[0].hard["results"]["whole"]
        ordinary = self._table(f"Ordinary test pictures: {test['images']} pictures, {test['captions']} sentences")
        for name in (*_RECALLS, "rSum"):
            ordinary.add_column(_HEADS.get(name, f"\n{name}"), justify="right")
        for row in rows:
            ordinary.add_row(row.name, *(_figure(row.test, name) for name in (*_RECALLS, "rSum")))
        self._console.print(ordinary)
        groups = {factor: found.groups for factor, found in rows[0].pairs.items()}
        pairs = sum(groups.values())
        difficult = self._table(
            f"Hard pictures: {hard['images']} in {pairs} pairs that differ only in a relation, counts or colours"
        )
        for name in ("i2t R@1", "t2i R@1"):
            difficult.add_column(_HEADS[name], justify="right")
        for factor, count in groups.items():
            difficult.add_column(f"told apart by\n{factor} ({count})", justify="right")
        for row in rows:
            told = [_told(found.accuracy, found.interval) for found in row.pairs.values()]
            difficult.add_row(row.name, _figure(row.hard, "i2t R@1"), _figure(row.hard, "t2i R@1"), *told)
        self._console.print(difficult)
        self._console.print(
            "R@K: share of queries, in percent, with a right answer among the first K; 95 % intervals in brackets.\n"
            "Told apart: how often the right one of two wins, asked both ways; guessing gets 50.\n"
            "The bag of objects knows which words a picture suggests, not what belongs to what. SGR and SAF see\n"
            "each region by itself, but not where it lies: 'left of' stays hard for them.",
            markup=False,
        )

    def findings(self, found: Sequence[Found], sheet: Path) -> None:
        """Print the best pictures for a few sentences."""
        self._console.print("\n[bold]What the two models together find among the test pictures[/]")
        for entry in found:
            self._console.print(f"\n[bold]“{escape(entry.sentence)}”[/]")
            for place, hit in enumerate(entry.hits, start=1):
                mark = "[green]✓[/]" if hit.right else " "
                caption = f"[dim]“{escape(hit.caption)}”[/]"
                self._console.print(
                    f"  {place}. {mark} {escape(hit.image)}  {hit.score:.2f}  {caption}", soft_wrap=True
                )
        self._console.print(f"\nThe same as pictures: {sheet}", markup=False, soft_wrap=True)

    def closing(self, out: Path, seconds: Mapping[str, float]) -> None:
        """Print where the time went and what to type next."""
        spent = ", ".join(f"{step} {duration(length)}" for step, length in seconds.items())
        self._console.print(f"\nDone in {duration(sum(seconds.values()))}: {spent}.", markup=False, soft_wrap=True)
        self._console.print(
            f"""
Now with pictures of your own: put captions.csv (columns image, caption) beside them, and type

  crossgraph extract photos --out photos/features
  crossgraph train sgraf-sgr-f8k --data photos --out runs/mine
  crossgraph evaluate runs/mine --data photos --split test

The demo's files: {out / "scenes"} (pictures, captions, boxes), {out / "runs"} (two models),
{out / "cards"} (results).""",
            markup=False,
            soft_wrap=True,
        )

    def _table(self, title: str) -> Table:
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("\n", justify="left", no_wrap=True)
        return table


def _figure(card: Mapping[str, Any], name: str) -> str:
    whole = card["results"]["whole"]
    return _told(whole["figures"][name], whole["intervals"][name])


def _told(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:.1f} [dim]\\[{low:.0f}–{high:.0f}][/]"


def duration(seconds: float) -> str:
    """Return a length of time for people: "21 s", "4 min 05 s"."""
    whole = round(seconds)
    return f"{whole} s" if whole < 90 else f"{whole // 60} min {whole % 60:02d} s"
