"""`crossgraph sweep`: trains and evaluates variants of a recipe, and writes one table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def sweep(
    sweep: str,
    *,
    data: Path,
    out: Path,
    features: Path | None = None,
    vocab: Path | None = None,
    split: str = "test",
    only: list[str] | None = None,
    jobs: int = 1,
    small: bool = False,
    dry_run: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overrides: list[str],
) -> None:
    """Train variants of a recipe and compare them in one table.

    Every variant is trained as `crossgraph train` does and evaluated as `crossgraph evaluate` does, each in a
    process of its own. Whatever was stopped, killed or failed goes on when the same command runs again; what
    is finished stays. A run that was trained with another recipe or other data is refused, never overwritten.
    Training chooses weights on dev; the split of the table chooses nothing.

    Args:
        sweep: A sweep's file, or the name of a shipped one (ablations-sgraf).
        data: The data folder.
        out: Folder of the runs, and of table.md, table.json and table.csv (table-SPLIT for another split than test).
        features: Region features, where they lie elsewhere.
        vocab: A vocabulary file; built from the train captions by default.
        split: What the variants are compared on; dev, where one of them is to be chosen.
        only: Run these variants alone; the table keeps all rows.
        jobs: Variants beside each other, each on its share of the cores.
        small: Use the recipes' small forms, which run in seconds.
        dry_run: Print what would be run and touch nothing.
        device: Where to compute; auto takes a GPU where there is one.
        overrides: Changes to every variant's recipe.
    """
    from crossgraph.sweep.command import run, show
    from crossgraph.sweep.engine import Request

    request = Request(
        sweep=sweep,
        data=data,
        out=out,
        features=features,
        vocab=vocab,
        split=split,
        only=only or [],
        jobs=jobs,
        small=small,
        device=device,
        overrides=overrides,
    )
    (show if dry_run else run)(request)
