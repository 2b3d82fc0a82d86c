"""`crossgraph versus`: compares the best of some variants, chosen on dev, with a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def versus(
    sweep: str,
    *,
    data: Path,
    out: Path,
    cards: Path,
    page: Path,
    features: Path | None = None,
    vocab: Path | None = None,
    splits: list[str] | None = None,
    small: bool = False,
    dry_run: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    overrides: list[str],
) -> None:
    """Choose the best of some variants on dev, then compare it with a baseline, once.

    Trains every variant and the baseline with the first seed and evaluates them on dev. The variant with the
    highest rSum is chosen, and the choice is written down; then it and the baseline are trained with every seed,
    measured on the other splits, and compared query by query. All variants are on the page, whoever wins. What was
    stopped, killed or failed goes on when the same command runs again. Once the choice is made the list stands:
    with other variants or recipes the command refuses.

    Args:
        sweep: A sweep's file that names a baseline, or the name of a shipped one (tshsr-against-sgr).
        data: The data folder.
        out: Folder of the runs.
        cards: Folder of the kept cards, of choice.json and of the comparisons.
        page: The page, a Markdown file; one of yours keeps what stands around the two comment lines.
        features: Region features, where they lie elsewhere.
        vocab: A vocabulary file; built from the train captions by default.
        splits: What the two are measured on (default: test).
        small: Use the recipes' small forms, which run in seconds.
        dry_run: Print what would be run and touch nothing.
        device: Where to compute; auto takes a GPU where there is one.
        overrides: Changes to every variant's recipe.
    """
    from crossgraph.sweep.engine import PageRequest, Request
    from crossgraph.sweep.versus import run, show

    asked = Request(
        sweep=sweep,
        data=data,
        out=out,
        features=features,
        vocab=vocab,
        small=small,
        device=device,
        overrides=overrides,
    )
    (show if dry_run else run)(PageRequest(asked, cards, page, splits or ["test"]))
