"""`crossgraph models`: lists the methods, and which of them can be trained here."""

from __future__ import annotations

import dataclasses
import sys
from json import dumps


def models(*, json: bool = False) -> None:
    """List every model: its kind, its status, its size, its paper.

    An independent model gives each side one vector, so that it can be searched by nearest neighbours; an
    interaction model compares words with regions and re-ranks a short list. Parameters are counted at the
    paper's sizes, for Flickr30K's published features and vocabulary.

    Args:
        json: Print JSON in place of a table.
    """
    from crossgraph.models.catalogue import catalogue

    entries = catalogue()
    if json:
        print(dumps([dataclasses.asdict(entry) for entry in entries], indent=2, ensure_ascii=False))
        return

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for head in ("model", "kind", "status"):
        table.add_column(head, no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("paper")
    for entry in entries:
        size = "–" if entry.parameters is None else f"{entry.parameters / 1e6:.1f} M"
        paper = f"{entry.paper} [dim]({entry.note})[/]" if entry.note else entry.paper
        table.add_row(entry.name, entry.kind, entry.status, size, paper)
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)
