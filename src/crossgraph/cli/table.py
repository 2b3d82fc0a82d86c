"""`crossgraph table`: trains every model with one budget, and writes one page."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def table(
    sweep: str,
    *,
    data: Path,
    out: Path,
    cards: Path,
    page: Path,
    features: Path | None = None,
    splits: list[str] | None = None,
    only: list[str] | None = None,
    small: bool = False,
    dry_run: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overrides: list[str],
) -> None:
    """Train and measure every model of a list, and write one page of all.

    Each model is trained once and evaluated on every split, in the list's order. Its cards are kept in a folder of
    their own as each ends, and the page is written anew from these cards alone; what has no card is "?". A cell
    whose card is kept is done, also where the run is gone. What was stopped, killed or failed goes on when the same
    command runs again. A kept card of another recipe or of other data is refused, never overwritten.

    Args:
        sweep: The list: a sweep's file, or the name of a shipped one (table-scenes).
        data: The data folder.
        out: Folder of the runs.
        cards: Folder of the kept cards, MODEL-SPLIT.json.
        page: The page, a Markdown file.
        features: Region features, where they lie elsewhere.
        splits: What the models are evaluated on (default: test and hard).
        only: Work on these models alone; the page keeps all.
        small: Use the recipes' small forms, which run in seconds.
        dry_run: Print what would be run and touch nothing.
        device: Where to compute; auto takes a GPU where there is one.
        overrides: Changes to every model's recipe.
    """
    from crossgraph.sweep.engine import PageRequest, Request
    from crossgraph.sweep.models_table import run, show

    asked = Request(
        sweep=sweep,
        data=data,
        out=out,
        features=features,
        only=only or [],
        small=small,
        device=device,
        overrides=overrides,
    )
    (show if dry_run else run)(PageRequest(asked, cards, page, splits or ["test", "hard"]))
