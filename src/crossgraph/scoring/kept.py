"""The best answers of every query, kept while scores come and go: memory for k answers a query, not for all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from crossgraph.core.errors import InputError
from crossgraph.files import atomic_write, sha256, write_json
from crossgraph.scoring.finite import refuse_nonfinite
from crossgraph.scoring.places import check_file
from crossgraph.scoring.portion import Portion
from crossgraph.scoring.store import FORMAT_VERSION, ScoreInfo
from crossgraph.scoring.topk import best_captions


class Kept:
    """The best answers of some queries so far: higher scores first, equal ones in the order of answers.

    Args:
        queries: How many.
        places: Answers kept of each, k.

    Attributes:
        answers: Their numbers (queries, k); -1 where there is none yet.
        scores: Theirs; -infinity where there is none yet.
    """

    def __init__(self, queries: int, places: int) -> None:
        self.answers: Int64[np.ndarray, "query place"] = np.full((queries, places), -1, np.int64)
        self.scores: Float32[np.ndarray, "query place"] = np.full((queries, places), -np.inf, np.float32)

    def add(self, first_query: int, first_answer: int, scores: Float32[np.ndarray, "query answer"]) -> None:
        """Take in the scores of consecutive queries with consecutive answers, which none has seen before."""
        rows = slice(first_query, first_query + len(scores))
        found, values = best_captions(scores, self.answers.shape[1])
        answers = np.concatenate([self.answers[rows], found + first_answer], axis=1)
        together = np.concatenate([self.scores[rows], values.astype(np.float32)], axis=1)
        order = np.lexsort((answers, -together), axis=1)[:, : self.answers.shape[1]]
        self.answers[rows] = np.take_along_axis(answers, order, 1)
        self.scores[rows] = np.take_along_axis(together, order, 1)


def write_best(
    path: Path, portions: Iterable[Portion], shape: tuple[int, int], places: int, info: ScoreInfo
) -> ScoreInfo:
    """Keep the best captions of every picture and the best pictures of every caption, and write these alone.

    The `.npz` holds `captions` (images, k) with `caption_scores`, and `images` (captions, k) with `image_scores`:
    numbers from 0 in the split's order, the best first.

    Args:
        path: The `.npz`.
        portions: All pairs, each once.
        shape: Images, captions.
        places: k, at least 1.
        info: What makes them; `seconds` and `sha256` are filled in.

    Raises:
        InputError: k below 1, a score that is no number, or a place that cannot be written.
    """
    if places < 1:
        raise InputError(f"--top-k {places}: keeps nothing", "give at least 1")
    check_file(path, ".npz")
    begun = time.monotonic()
    images, captions = shape
    of_images, of_captions = Kept(images, min(places, captions)), Kept(captions, min(places, images))
    for portion in portions:
        refuse_nonfinite(portion.scores, portion.image)
        of_images.add(portion.image, portion.caption, portion.scores)
        of_captions.add(portion.caption, portion.image, np.ascontiguousarray(portion.scores.T))
    beside = path.with_name(f"{path.name}.json")
    with atomic_write(path) as file:
        np.savez(
            file,
            captions=of_images.answers,
            caption_scores=of_images.scores,
            images=of_captions.answers,
            image_scores=of_captions.scores,
        )
        beside.unlink(missing_ok=True)
    seconds = round(time.monotonic() - begun, 3)
    whole = dataclasses.replace(info, seconds=seconds, sha256=sha256(path))
    write_json(beside, {"format_version": FORMAT_VERSION, "top_k": places, **dataclasses.asdict(whole)})
    return whole
