"""`crossgraph demo`: draws, trains, evaluates and searches in a few minutes."""

from __future__ import annotations

import os
from pathlib import Path

from crossgraph.cli.output import log

# As in `crossgraph train`: idle threads that spin take the time of the busy ones.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def demo(*, out: Path = Path("demo"), count: int = 2000, seed: int = 0, small: bool = False) -> None:
    """Draw pictures, train two small models on them, show what they find.

    Draws captioned pictures, turns them into regions, trains a small SGR and a small SAF, measures both and
    their mean beside chance and a bag of objects, and puts it all on one page. Takes under six minutes on two
    cores; stopped at any moment, the same command goes on, and called again it only shows the results.

    Args:
        out: Folder for all of it.
        count: How many pictures to draw.
        seed: Another number gives other pictures.
        small: Train for a few steps only, to see that everything works.
    """
    from crossgraph.data.scenes import Settings
    from crossgraph.demo.steps import run_demo
    from crossgraph.progress import ProgressDisplay

    settings = Settings(count, seed)
    with ProgressDisplay() as display:
        try:
            run_demo(
                out,
                settings,
                ["--small"] if small else [],
                display,
                log,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"what was finished in {out} is kept; the same command goes on from there"
            ) from None
