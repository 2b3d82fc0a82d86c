"""Cascade: the re-ranker scores a short list of every query instead of all pairs.

    1. coarse scores of all pairs by the bundle's index or late-interaction retriever    `coarse_scores`
    2. the nearest pictures of each caption and captions of each picture are scored       `short_lists`
    3. the other scores are estimated from these; pairs near the k-th best are scored too `candidate_expansion`
    4. how near is near enough was chosen on dev                                          `candidate_margins`

Pairs that are never scored rank below all scored ones, in the order of their coarse scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from crossgraph.bundle.bundle import Bundle
from crossgraph.cascade.candidate_expansion import FIRST_CAPTIONS, FIRST_PICTURES, estimate_scores, expand_candidates
from crossgraph.cascade.candidate_margins import (
    CandidateMargins,
    choose_margins,
    fingerprint,
    read_margins,
    write_margins,
)
from crossgraph.cascade.coarse_scores import caption_chunks, coarse_scores, encoded, offset_progress, short_lists
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.memory import release_pages, trim_heap
from crossgraph.models.fast.form import Precision
from crossgraph.progress import ProgressCallback
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.encode import CodeBlocks, TextBucket
from crossgraph.scoring.engine import DEFAULT_SIZE, ScoringOptions, score_split
from crossgraph.scoring.pair_lists import ListScorer

CACHE_BYTES = 3 << 28  # caption codes in memory and files: 30,000 captions of 13 words × 1,024 in bfloat16


def margins_of(
    bundle: Bundle,
    dev: Callable[[], Split],
    precision: Precision,
    progress: Callable[[str], ProgressCallback],
    size: BlockSize = DEFAULT_SIZE,
) -> CandidateMargins:
    """Return the margins chosen on dev; choose them now, and write them into the bundle's folder, where there are none.

    Args:
        bundle: With a late-interaction retriever, an index head or a retriever.
        dev: Opens the split to choose on.
        precision: Of the re-ranker.
        progress: Returns the progress callback of a task.
        size: Of a block of pairs.

    Raises:
        InputError: The bundle has no retriever, or its model needs none.
    """
    if bundle.kind == "independent":
        raise InputError(
            f"{bundle.path}: '{bundle.reranker.info.model}' is independent; its vectors score all pairs in one product",
            "leave --cascade out",
        )
    if bundle.head is None and bundle.retriever is None and bundle.late_interaction is None:
        raise InputError(
            f"{bundle.path}: has no index of its own, so no short list can be made",
            "make a bundle of the run with 'crossgraph bundle', and give that",
        )
    split = dev()
    known = read_margins(bundle.path)
    if known is not None and (known.dev, known.bundle) == (split.fingerprint(), fingerprint(bundle)):
        return known
    run = bundle.reranker
    scores = score_split(
        run.model,
        run.vocabulary,
        split,
        ScoringOptions(precision=precision, size=size, progress=progress("all pairs of dev")),
    )
    coarse = coarse_scores(bundle, split, lambda task: progress(f"{task} of dev"), precision).matrix
    margins = choose_margins(bundle, split, scores, coarse)
    write_margins(bundle.path, margins)
    return margins


def cascade_scores(
    bundle: Bundle,
    split: Split,
    margins: CandidateMargins,
    precision: Precision,
    progress: Callable[[str], ProgressCallback],
    size: BlockSize = DEFAULT_SIZE,
) -> tuple[Float32[np.ndarray, "img txt"], dict[str, Any]]:
    """Return scores of all pairs: the re-ranker's where it scored, below them the order of the coarse scores.

    Args:
        bundle: With a late-interaction retriever, an index head or a retriever.
        split: Pictures and captions.
        margins: See `margins_of`.
        precision: Of the re-ranker.
        progress: Returns the progress callback of a task.
        size: Of a block of pairs.

    Returns:
        The matrix, backed by a file where it is large; and the card's entry about the cascade.
    """
    lists = _ShortLists(bundle, split, precision, size)
    coarse = coarse_scores(bundle, split, progress, precision, lists.add_codes)
    first = short_lists(coarse.matrix, FIRST_PICTURES, FIRST_CAPTIONS)
    release_pages(coarse.matrix)
    scores = lists.scores(coarse.images, first, progress("scoring the nearest"))
    estimate = estimate_scores(coarse.matrix, first, scores)
    second = expand_candidates(coarse.matrix, estimate, first, margins.captions, margins.pictures)
    more = lists.scores(coarse.images, second, progress("scoring what may be as good"))
    del lists  # frees the caption codes
    trim_heap()
    matrix = coarse.matrix
    # Shifted below the lowest re-ranker score, so that no unscored pair ranks above a scored one.
    highest = max(float(row.max()) for row in matrix)
    lowest = min(float(one.min(initial=np.inf)) for one in (*scores, *more))
    for number, row in enumerate(matrix):
        np.add(row, np.float32(lowest - highest - 1), out=row)
        row[first[number]], row[second[number]] = scores[number], more[number]
    pairs = [sum(map(len, some)) for some in (first, second)]
    about = {"pairs_by_nearness": pairs[0], "pairs_by_guess": pairs[1], "share": sum(pairs) / matrix.size}
    return matrix, {**about, "chosen_on_dev": dataclasses.asdict(margins), "index": coarse.by}


class _ShortLists:
    """Scores each picture with captions of its own; caption codes are cached unless they need more than CACHE_BYTES.

    Args:
        bundle: Whose re-ranker scores.
        split: Pictures and captions.
        precision: Of the re-ranker.
        size: Of a block of pairs.
    """

    def __init__(self, bundle: Bundle, split: Split, precision: Precision, size: BlockSize) -> None:
        self._run, self._split = bundle.reranker, split
        self._precision: Precision = precision
        self._size = size
        vocabulary = self._run.vocabulary
        self._lengths = np.array([len(vocabulary.encode(caption).ids) for caption in split.captions])
        self._cache: ListScorer | None = None
        self._too_large = False

    def add_codes(self, texts: Iterable[TextBucket]) -> None:
        """Cache caption codes that the coarse scores needed too, so that they are not encoded twice."""
        buckets = list(texts)
        if self._cache is None and not self._too_large:
            self._cache = self._scorer(range(len(self._lengths)))
            self._too_large = self._cache.needs(buckets[0]) > CACHE_BYTES
        if self._too_large:
            self._cache = None
        elif self._cache is not None:
            self._cache.take(buckets)

    def scores(
        self, images: CodeBlocks, chosen: Sequence[Int64[np.ndarray, " _"]], progress: ProgressCallback
    ) -> list[Float32[np.ndarray, " _"]]:
        """Return the scores of each picture with the captions chosen for it."""
        scores = [np.empty(len(columns), np.float32) for columns in chosen]
        done, pairs, captions = 0, sum(map(len, chosen)), len(self._lengths)
        # Without the cache, captions are encoded chunk by chunk, and each list is scored where it meets the chunk.
        for part in caption_chunks(captions) if self._cache is None else [range(captions)]:
            trim_heap()
            inside = [slice(*np.searchsorted(columns, (part.start, part.stop))) for columns in chosen]
            some = [columns[rows] - part.start for columns, rows in zip(chosen, inside, strict=True)]
            scorer = self._cache or self._scorer(part)
            if self._cache is None:
                scorer.take(encoded(self._run, self._split, part))
            for scored in scorer.scores(images, some, offset_progress(progress, done, pairs)):
                scores[scored.image][inside[scored.image]] = scored.scores
            done += sum(map(len, some))
            del scorer  # frees the codes before the next chunk is encoded
        trim_heap()
        return scores

    def _scorer(self, part: range) -> ListScorer:
        lengths = self._lengths[part.start : part.stop]
        return ListScorer(self._run.model, lengths, self._precision, self._size)
