"""Write every query with its rank and its ten best answers, as JSONL and as TREC runs.

    details.jsonl         a query a line, both directions
    i2t.run, t2i.run      TREC: query Q0 document rank score crossgraph
    i2t.qrels, t2i.qrels  TREC: query 0 document 1

A caption's id is its image's id, "#", and its number among that image's captions, from 0. TREC files
separate by blanks, so blanks in ids (and "%") are written as %20 and so on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Int64

from crossgraph.data.split import Split
from crossgraph.evaluate.outcomes import Outcomes
from crossgraph.evaluate.protocol import Evaluation
from crossgraph.files import atomic_write
from crossgraph.scoring.recall import CUTOFFS, ScoreRows
from crossgraph.scoring.topk import Best, best_captions, best_images

ANSWERS = 10
FILES = ("details.jsonl", "i2t.run", "t2i.run", "i2t.qrels", "t2i.qrels")


@dataclass(frozen=True)
class Detail:
    """Rank and best answers of one query.

    Attributes:
        query: Row of the image or caption that asks.
        outcome: Its row among its direction's outcomes.
        answers: Rows of the best captions or images, best first.
        scores: Theirs.
    """

    query: int
    outcome: int
    answers: list[int]
    scores: list[float]


def write_details(folder: Path, scores: ScoreRows, split: Split, evaluation: Evaluation) -> list[Path]:
    """Write all five files atomically.

    Args:
        folder: Made where missing.
        scores: What was evaluated: images × captions.
        split: Names and captions.
        evaluation: Ranks.

    Returns:
        The files.

    Raises:
        InputError: The folder cannot be written.
    """
    i2t = list(_details(evaluation.i2t, best_captions(scores, ANSWERS)))
    t2i = list(_details(evaluation.t2i, best_images(scores, ANSWERS)))
    captions = caption_ids(split.image_ids, split.caption_image)
    images, texts = [_trec(name) for name in split.image_ids], [_trec(name) for name in captions]
    owner: list[int] = split.caption_image.tolist()
    _write(
        folder / "details.jsonl",
        [*_i2t_lines(i2t, split, evaluation, captions), *_t2i_lines(t2i, split, evaluation, captions)],
    )
    _write(folder / "i2t.run", _run_lines(i2t, images, texts))
    _write(folder / "t2i.run", _run_lines(t2i, texts, images))
    _write(folder / "i2t.qrels", (f"{images[image]} 0 {texts[row]} 1" for row, image in enumerate(owner)))
    _write(folder / "t2i.qrels", (f"{texts[row]} 0 {images[image]} 1" for row, image in enumerate(owner)))
    return [folder / name for name in FILES]


def caption_ids(image_ids: Sequence[str], caption_image: Int64[np.ndarray, " caption"]) -> list[str]:
    """Return "image#number" for every caption, numbered from 0 within its image."""
    seen: dict[int, int] = {}
    names: list[str] = []
    for image in caption_image.tolist():
        number = seen.get(image, 0)
        seen[image] = number + 1
        names.append(f"{image_ids[image]}#{number}")
    return names


def _details(found: Outcomes, best: Best) -> Iterator[Detail]:
    answers, scores = best
    for row, query in enumerate(found.ranks.queries.tolist()):
        yield Detail(query, row, answers[query].tolist(), scores[query].tolist())


def _i2t_lines(
    details: Iterable[Detail], split: Split, evaluation: Evaluation, captions: Sequence[str]
) -> Iterator[str]:
    for detail in details:
        top = [
            {"id": captions[row], "caption": split.captions[row], "score": score, "right": owner == detail.query}
            for row, score, owner in zip(
                detail.answers, detail.scores, split.caption_image[detail.answers].tolist(), strict=True
            )
        ]
        asked = {"direction": "i2t", "query": split.image_ids[detail.query]}
        yield _line(asked | _outcome(evaluation.i2t, detail.outcome) | {"top": top})


def _t2i_lines(
    details: Iterable[Detail], split: Split, evaluation: Evaluation, captions: Sequence[str]
) -> Iterator[str]:
    for detail in details:
        own = int(split.caption_image[detail.query])
        top = [
            {"id": split.image_ids[row], "score": score, "right": row == own}
            for row, score in zip(detail.answers, detail.scores, strict=True)
        ]
        asked = {"direction": "t2i", "query": split.captions[detail.query], "id": captions[detail.query]}
        yield _line(asked | {"image": split.image_ids[own]} | _outcome(evaluation.t2i, detail.outcome) | {"top": top})


def _outcome(found: Outcomes, row: int) -> dict[str, Any]:
    """Return the outcome of one query; ranks count from 1."""
    return {
        "rank": float(found.rank[row]) + 1,
        "best_rank": int(found.ranks.above[row]) + 1,
        "tied_with": int(found.ranks.tied_wrong[row]),
        "hit": {str(cutoff): float(found.hit[row, i]) for i, cutoff in enumerate(CUTOFFS)},
    }


def _run_lines(details: Iterable[Detail], queries: Sequence[str], documents: Sequence[str]) -> Iterator[str]:
    for detail in details:
        for rank, (row, score) in enumerate(zip(detail.answers, detail.scores, strict=True), start=1):
            yield f"{queries[detail.query]} Q0 {documents[row]} {rank} {score!r} crossgraph"


def _trec(name: str) -> str:
    return re.sub(r"[\s%]", lambda found: quote(found[0], safe=""), name)


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_write(path) as file:
        for line in lines:
            file.write(f"{line}\n".encode())
