"""`crossgraph evaluate`: runs or score matrices to figures, intervals and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from crossgraph.cli.output import log


def evaluate(
    runs: list[Path] | None = None,
    *,
    scores: list[Path] | None = None,
    data: Path,
    features: Path | None = None,
    split: str = "test",
    slices: int = 1,
    dev_limit: int | None = None,
    ties: Literal["expected", "worst"] = "expected",
    details: Path | None = None,
    explanations: bool = False,
    boxes: Path | None = None,
    ids: Path | None = None,
    out: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "float32",
    block: int | None = None,
    cascade: bool = False,
) -> None:
    """Measure runs or score matrices: R@K both ways with intervals, and a card.

    Several runs or matrices are one ensemble: the mean of their score matrices, marked as such. The card
    of a single run is kept in the run's folder (card.json, or card-SPLIT.json for another split than
    test); --out names another folder.

    Args:
        runs: Runs that `crossgraph train` or `crossgraph import` made.
        scores: Matrices of images × captions (.npy) in place of runs.
        data: The data folder.
        features: Region features, where they lie elsewhere.
        split: Which split.
        slices: Also the mean over this many consecutive slices (5 for the "1K" figures of COCO's 5,000).
        dev_limit: Only the first so many images, as published loaders cut dev (1000).
        ties: Equal scores count with the probability of a hit, or as if every wrong answer came first.
        details: Folder for every query's rank and best ten answers (JSONL, TREC).
        explanations: Measure thoroughly whether the runs' explanations are right; a card always has a small sample.
        boxes: Boxes of named things (objects.json, or COCO's instances JSON), where not beside the captions.
        ids: COCO's id of every caption (a line each, or .npy), for ECCV Caption and CxC, where the data tell none.
        out: Folder for card.json and card.md.
        device: Where to compute; auto takes the accelerator where there is one.
        precision: bfloat16 is faster on processors that have it; scores then differ in the third digit. auto takes
            it where a trial on this machine found it faster, and no score moved by more than 0.002.
        block: Pairs scored in one go; without it what a trial found fastest here, once for each model.
        cascade: RUNS is one bundle: re-rank short lists of its retriever, and the pairs that could rank as high.
    """
    from crossgraph.evaluate.card import write_card
    from crossgraph.evaluate.job import Job, run_job
    from crossgraph.evaluate.table import markdown
    from crossgraph.files import check_output_folder
    from crossgraph.progress import ProgressDisplay

    card_folder = out or (runs[0] if runs and len(runs) == 1 else None)
    if card_folder is not None:
        check_output_folder(card_folder)
    job = Job(
        runs=runs or [],
        scores=scores or [],
        data=data,
        features=features,
        split=split,
        slices=slices,
        dev_limit=dev_limit,
        ties=ties,
        details=details,
        device=device,
        precision=precision,
        block=block,
        cascade=cascade,
        explanations=explanations,
        boxes=boxes,
        ids=ids,
    )
    with ProgressDisplay() as progress:
        try:
            card = run_job(job, log=log, report=progress.for_task)
        except KeyboardInterrupt:
            remedy = "for a long split, keep each run's scores with 'crossgraph score' and give --scores"
            raise KeyboardInterrupt(f"no card was made; {remedy}") from None
    print(markdown(card), end="")
    for text in card["warnings"]:
        log(f"crossgraph evaluate: warning: {text}")
    if card_folder is None:
        log("the card is not kept; --out FOLDER keeps it")
    else:
        stem = "card" if out or split == "test" else f"card-{split}"
        log(f"card: {write_card(card, card_folder, stem)}")
