"""`crossgraph explain`: shows which regions each word attends to, as a table, JSON or a figure."""

from __future__ import annotations

import dataclasses
import warnings
from json import dumps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crossgraph.cli.output import log
from crossgraph.core.errors import InputError

if TYPE_CHECKING:
    from crossgraph.pipeline import Alignment, Pipeline


def explain(
    run: Path,
    picture: Path,
    sentence: str,
    *,
    out: Path | None = None,
    json: bool = False,
    theme: Literal["light", "dark"] = "light",
    features: Path | None = None,
    row: int = 0,
    boxes: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Look inside one pair: where each word looked, how much it counted, and the score.

    Args:
        run: A run that `crossgraph train` or `crossgraph import` made.
        picture: The picture.
        sentence: What is said about it, in quotes.
        out: A figure to draw: .png, .svg or .pdf.
        json: Print everything as JSON (weights, boxes, tokens, significance, score) in place of the table.
        theme: Of the figure, for a light or a dark page.
        features: The picture's regions as .npy (regions × D), for runs made on published features.
        row: Which picture of --features, where it holds several (pictures × regions × D).
        boxes: Boxes of these regions as .npy (regions × 4: left, top, right, bottom, from 0 to 1; or
            pictures × regions × 4).
        device: Where to compute; auto takes the accelerator where there is one.
    """
    from crossgraph.explain.description import alignment_lines
    from crossgraph.explain.drawing.alignment_figure import draw_explanation
    from crossgraph.explain.drawing.canvas import check_figure_path, require_matplotlib
    from crossgraph.explain.drawing.picture import read_picture
    from crossgraph.pipeline import UnknownWords, load

    if out is not None:
        check_figure_path(out)
        require_matplotlib()
        if out.exists() and picture.exists() and out.samefile(picture):
            raise InputError(f"{out}: is the picture itself", "write the figure to another file")
    read_picture(picture, longest=64)  # so that a broken picture is reported before the model is loaded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWords)  # said below, and marked in every form of output
        alignment = _align(load(run, device=device), picture, sentence, features, row, boxes)
    if alignment.unknown:
        named = ", ".join(f"'{word}'" for word in dict.fromkeys(alignment.unknown))
        log(f"note: unknown to {alignment.run} and read as <unk>: {named}")
    if not (isfinite(alignment.score) and bool((alignment.weights >= 0).all())):
        raise InputError(f"{run}: the score is no number", "its weights or these features are broken; make them again")
    alignment = dataclasses.replace(alignment, picture=picture)
    if out is not None:
        draw_explanation(alignment, out, theme)
    if json:
        print(dumps(alignment.as_json(), ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(alignment_lines(alignment)))
    if out is not None:
        log(f"figure: {out}")


def _align(
    pipe: Pipeline, picture: Path, sentence: str, features: Path | None, row: int, boxes: Path | None
) -> Alignment:
    from crossgraph.explain.feature_files import read_boxes, read_features

    if features is None:
        if boxes is not None:
            raise InputError("--boxes without --features", "give the features that these boxes belong to")
        if row:
            raise InputError(f"--row {row} without --features", "give the features that it is a row of")
        if pipe.run.info.region_encoder == "published":
            raise InputError(
                f"{pipe.run.path}: trained on published features, which nothing here makes from a picture",
                "give this picture's with --features FILE.npy (regions × D), and their boxes with --boxes FILE.npy",
            )
        return pipe.explain(picture, sentence)
    regions = read_features(features, row)
    known = None if boxes is None else read_boxes(boxes, row, len(regions))
    try:
        return pipe.explain(regions, sentence, known)
    except InputError as error:  # the pipeline counts pictures, a person has a file
        raise InputError(error.problem.replace("picture 0:", f"{features}:"), error.remedy) from error
