"""`crossgraph score`: a run and a split to a score matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crossgraph.cli.output import log
from crossgraph.core.errors import InputError


def score(
    run: Path,
    *,
    data: Path,
    features: Path | None = None,
    split: str = "test",
    out: Path,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "float32",
    block: int | None = None,
    top_k: int | None = None,
) -> None:
    """Score every picture of a split with every caption.

    Writes a float32 .npy of images × captions in the order of the data, and beside it a .npy.json that
    says what made it. The file takes its name when it is whole. Memory does not grow with the split.

    Args:
        run: A run that `crossgraph train` or `crossgraph import` made.
        data: The data folder.
        features: Region features, where they lie elsewhere.
        split: Which split.
        out: The .npy to write; with --top-k an .npz.
        device: Where to compute; auto takes the accelerator where there is one.
        precision: bfloat16 is faster on processors that have it; scores then differ in the third digit. auto takes
            it where a trial on this machine found it faster, and no score moved by more than 0.002.
        block: Pairs scored in one go; without it what a trial found fastest here, once for each model.
        top_k: Keep only the best so many captions of every picture and pictures of every caption.
    """
    from crossgraph.data import open_data
    from crossgraph.files import check_output_file
    from crossgraph.progress import ProgressDisplay
    from crossgraph.runs import load_run
    from crossgraph.scoring.compatibility import check_run_fits
    from crossgraph.scoring.engine import ScoringOptions, choose_device, score_blocks_of_split
    from crossgraph.scoring.recall import NonFiniteScore
    from crossgraph.scoring.score_file import describe_score, write_best, write_scores
    from crossgraph.scoring.tuning import choose_precision

    if top_k is not None and top_k < 1:
        raise InputError(f"--top-k {top_k}: keeps nothing", "give at least 1")
    check_output_file(out, ".npy" if top_k is None else ".npz")
    where = choose_device(device)
    loaded = load_run(run)
    opened = open_data(data, features, log=log).split(split)
    check_run_fits(loaded, opened)
    shape = (len(opened.image_ids), len(opened.captions))
    with ProgressDisplay() as progress:
        model, report = loaded.model.to(where), progress.for_task(f"scoring {split}")
        chosen, size = choose_precision(model, loaded.vocabulary, opened, precision, block)
        info = describe_score(loaded, opened, where, chosen)
        portions = score_blocks_of_split(
            model,
            loaded.vocabulary,
            opened,
            ScoringOptions(precision=chosen, size=size, progress=report, name=str(run)),
        )
        try:
            if top_k is None:
                written = write_scores(out, portions, shape, info)
            else:
                written = write_best(out, portions, shape, top_k, info)
        except NonFiniteScore as error:
            raise error.named(str(run), opened.image_ids, opened.captions) from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{out} is as it was before; scoring begins anew") from None
    rate = shape[0] * shape[1] / max(written.seconds, 1e-3)
    print(f"{shape[0]:,} images × {shape[1]:,} captions -> {out} ({written.seconds:.1f} s, {rate:,.0f} pairs/s)")
