"""Answers of one system to every query, from a run, score files or a folder of details.

Two systems can be compared where they were asked the same queries of the same gallery.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.details import caption_ids
from crossgraph.evaluate.outcomes import Outcomes, outcomes
from crossgraph.evaluate.sources import Source, adopt_files, blame, score_runs
from crossgraph.files import read_text
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run, load_run
from crossgraph.scoring.encode import Precision
from crossgraph.scoring.recall import CUTOFFS, NonFiniteScore, Ties
from crossgraph.scoring.score_file import ScoreFile, open_scores

Kind = Literal["run", "scores", "details"]
DETAILS = "details.jsonl"
_REMEDY = "give a run, a .npy of scores, or a folder that 'crossgraph evaluate --details' wrote"


@dataclass(frozen=True)
class Answered:
    """Answers of one direction.

    Attributes:
        queries: Id of each query: the image's, or IMAGE#NUMBER of the caption.
        texts: What was asked with: the image's id, or the caption.
        images: The image that each query is or describes.
        rank: 0-based rank of the best right answer.
        hit: Probability that a right answer is among the first K, for K = 1, 5, 10.
    """

    queries: Sequence[str]
    texts: Sequence[str]
    images: Sequence[str]
    rank: Float[np.ndarray, " query"]
    hit: Float[np.ndarray, "query cutoff"]


@dataclass(frozen=True)
class Answers:
    """Answers of both directions.

    Attributes:
        name: The run, file or folder.
        i2t: From image to captions.
        t2i: From caption to image.
    """

    name: str
    i2t: Answered
    t2i: Answered


def kind_of(path: Path) -> Kind:
    """Return what a path holds: a run, a score file or details.

    Raises:
        InputError: Nothing that tells of answers.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", _REMEDY)
    if path.is_file():
        if path.suffix == ".npy":
            return "scores"
        if path.name == DETAILS:
            return "details"
        raise InputError(f"{path}: neither scores nor details", _REMEDY)
    if (path / "run.json").exists():
        return "run"
    if (path / DETAILS).exists():
        return "details"
    raise InputError(f"{path}: neither a run nor a folder of details", _REMEDY)


def answers_of(
    paths: Sequence[Path],
    whole: Split | None,
    split: Split | None,
    *,
    ties: Ties = "expected",
    device: torch.device | None = None,
    precision: Precision = "float32",
    report: Callable[[str], ProgressCallback] | None = None,
) -> list[Answers]:
    """Score or read the answers of some systems; all are checked before the first is scored.

    Args:
        paths: Runs, matrices or folders of details.
        whole: The split as the data has it; needed but for details.
        split: What of it is asked.
        ties: How equal scores count; details were counted when they were written.
        device: Where runs compute.
        precision: Of their matrix products.
        report: Returns the progress callback of a run.

    Raises:
        InputError: One does not belong to the split, or is broken.
    """
    read: list[Answers | ScoreFile | Run] = []
    for path in paths:
        kind = kind_of(path)
        if kind == "details":
            read.append(read_details(path if path.is_file() else path / DETAILS))
            continue
        if whole is None or split is None:
            raise InputError(f"{path}: --data is required to know its queries", "name the data folder by --data")
        read.append(load_run(path) if kind == "run" else open_scores(path))
    if whole is None or split is None:
        return [one for one in read if isinstance(one, Answers)]
    sources: dict[int, Source] = {}
    for number, one in enumerate(read):
        if isinstance(one, ScoreFile):
            sources[number] = adopt_files([one], whole, split)[0]
    runs = {number: one for number, one in enumerate(read) if isinstance(one, Run)}
    scored = score_runs(list(runs.values()), split, device or torch.device("cpu"), precision, report)
    sources |= dict(zip(runs, scored, strict=True))
    return [
        one if isinstance(one, Answers) else _asked(sources[number], split, ties) for number, one in enumerate(read)
    ]


def _asked(source: Source, split: Split, ties: Ties) -> Answers:
    try:
        i2t, t2i = outcomes(source.scores, split.caption_image, ties)
    except NonFiniteScore as error:
        raise blame(error, [source], split) from error
    return named_answers(source.name, split, i2t, t2i)


def named_answers(name: str, split: Split, i2t: Outcomes, t2i: Outcomes) -> Answers:
    """Return outcomes with the names of the split's queries and answers."""
    captions = caption_ids(split.image_ids, split.caption_image)
    queries: list[int] = i2t.ranks.queries.tolist()
    described: list[int] = split.caption_image.tolist()
    asked, owners = ([split.image_ids[row] for row in rows] for rows in (queries, described))
    return Answers(
        name,
        Answered(asked, asked, asked, i2t.rank, i2t.hit),
        Answered(captions, list(split.captions), owners, t2i.rank, t2i.hit),
    )


def read_details(path: Path) -> Answers:
    """Read what `crossgraph evaluate --details` wrote.

    Raises:
        InputError: The file is missing, or a line is not as that command writes it; the line is named.
    """
    rows: dict[str, list[dict[str, Any]]] = {"i2t": [], "t2i": []}
    for number, line in enumerate(read_text(path, _REMEDY).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                rows[row["direction"]].append(_checked(row))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise InputError(
                    f"{path}, line {number}: not as 'crossgraph evaluate --details' writes it", "write it again"
                ) from error
    if not rows["i2t"] or not rows["t2i"]:
        raise InputError(f"{path}: lacks a direction", "write it again by 'crossgraph evaluate --details'")
    return Answers(
        str(path.parent),
        _answered(rows["i2t"], "query", "query"),
        _answered(rows["t2i"], "id", "image"),
    )


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    hit = [float(row["hit"][str(cutoff)]) for cutoff in CUTOFFS]
    rank = float(row["rank"]) - 1
    asked = {key: str(row[key]) for key in ("query", *(("id", "image") if row["direction"] == "t2i" else ()))}
    if not (0 <= rank < float("inf") and all(0 <= share <= 1 for share in hit)):
        raise ValueError("no rank")
    return asked | {"rank": rank, "hit": hit}


def _answered(rows: Sequence[dict[str, Any]], identity: str, image: str) -> Answered:
    return Answered(
        [row[identity] for row in rows],
        [row["query"] for row in rows],
        [row[image] for row in rows],
        np.array([row["rank"] for row in rows], dtype=np.float64),
        np.array([row["hit"] for row in rows], dtype=np.float64),
    )
