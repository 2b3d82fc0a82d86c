"""`crossgraph figure`: draws captions with a right and a wrong picture and the best answers both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crossgraph.cli.output import log


def figure(
    run: Path,
    *,
    data: Path,
    features: Path | None = None,
    split: str = "test",
    out: Path,
    query: list[int] | None = None,
    captions: int = 2,
    seed: int = 0,
    theme: Literal["light", "dark"] = "light",
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Draw captions with their right and their best-ranked wrong picture, and the best five both ways.

    For each caption: where its words looked in both pictures, how much each word counted, and the pictures
    and captions that are found, the right ones marked by a tick and a solid frame.

    Args:
        run: A run that `crossgraph train` or `crossgraph import` made.
        data: The data folder.
        features: Region features, where they lie elsewhere.
        split: Which split; all its pictures are searched.
        out: The figure: .png, .svg or .pdf.
        query: Captions by their row in the split, from 0; drawn at random otherwise.
        captions: How many are drawn at random.
        seed: Of that choice.
        theme: For a light or a dark page.
        device: Where to compute; auto takes the accelerator where there is one.
    """
    from crossgraph.data import open_data
    from crossgraph.explain.drawing.canvas import check_figure_path, require_matplotlib
    from crossgraph.explain.drawing.examples_figure import draw_examples
    from crossgraph.explain.examples import check_captions, choose_captions, find_examples
    from crossgraph.progress import ProgressDisplay
    from crossgraph.runs import load_run
    from crossgraph.scoring.engine import choose_device

    check_figure_path(out)
    require_matplotlib()
    where = choose_device(device)
    loaded = load_run(run)
    loaded.model.to(where)
    opened = open_data(data, features, log=log).split(split)
    chosen = check_captions(query, opened) if query else choose_captions(loaded, opened, captions, seed)
    with ProgressDisplay() as progress:
        pairs = find_examples(loaded, opened, chosen, progress.for_task(f"searching {split}"))
    draw_examples(pairs, opened, out, theme)
    for pair in pairs:
        rank = f"right picture at rank {pair.right.rank:,} of {len(opened.image_ids):,}"
        print(f"caption {pair.caption}: {rank}: {' '.join(opened.captions[pair.caption].split())}")
    print(f"figure: {out}")
