"""The figure that chooses weights: rSum on dev."""

from __future__ import annotations

import time
from collections.abc import Callable

from crossgraph.data.split import Split
from crossgraph.models.base import Matcher
from crossgraph.scoring.engine import score_split
from crossgraph.scoring.recall import recalls
from crossgraph.text.vocabulary import Vocabulary

_SILENT = 10.0  # seconds of scoring before anything is said about it, and between two lines


def rank_dev(model: Matcher, dev: Split, vocabulary: Vocabulary, say: Callable[[str], None]) -> dict[str, float]:
    """Score a dev split whole and reduce it to recalls; draws no random numbers.

    Args:
        model: In any mode; left in it.
        dev: What to rank.
        vocabulary: The model's.
        say: Hears how far it is where that takes long.

    Returns:
        "rsum", and R@1, 5, 10 both ways ("i2t_r1", …), in percent.

    Raises:
        InputError: A score is NaN or infinite.
    """
    last = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SILENT:
            last = time.monotonic()
            say(f"ranking dev: {100 * done / total:.0f} % of {total:,} {what}")

    scores = score_split(model, vocabulary, dev, report=report)
    found = recalls(scores, dev.caption_image)
    sides = (("i2t", found.i2t), ("t2i", found.t2i))
    return {"rsum": found.rsum, **{f"{name}_r{k}": share for name, side in sides for k, share in side.recall.items()}}
