"""`crossgraph scenes`: draws captioned pictures."""

from __future__ import annotations

from pathlib import Path


def scenes(*, out: Path, count: int = 2000, seed: int = 0, size: int = 320) -> None:
    """Make a folder of captioned pictures: things on a ground, with relations, counts and colours.

    Pictures, five captions each, exact boxes, and four splits: train, dev, test, and hard, where two
    pictures each differ only in a relation, the counts or the colours. The same numbers give the same
    pictures everywhere. Stopped at any moment, the same command goes on.

    Args:
        out: The folder to make.
        count: How many pictures in all, from 20 on.
        seed: Another number gives other pictures.
        size: Side of the pictures in pixels.
    """
    from crossgraph.data.scenes import Settings, write_scenes
    from crossgraph.progress import ProgressDisplay

    settings = Settings(count, seed, size)
    with ProgressDisplay() as progress:
        try:
            made = write_scenes(out, settings, progress.update)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"finished pictures in {out} are kept; the same command goes on from there"
            ) from None
    shares = ", ".join(f"{split} {share:,}" for split, share in settings.shares().items())
    state = "" if made else ", nothing to do: all were there already"
    print(f"{count:,} pictures of {size} × {size} with 5 captions each → {out} ({shares}){state}")
