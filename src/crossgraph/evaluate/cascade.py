"""Evaluation by cascade: an index or a sieve brings up a short list for every query, which alone the re-ranker scores.

From what it says of these few, what it would say of all others is guessed, and those that may be as good as the tenth
best are scored too (`second_look.py`). By how much a guess may fall short is chosen on dev (`margins.py`). What is left
out stays behind what was scored, in the order of what brings it up.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from crossgraph.bundle.bundle import Bundle
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.margins import Margins, choose_margins, fingerprint, keep_margins, read_margins
from crossgraph.evaluate.nearness import encoded, nearness, of_whole, parts_of, short_lists
from crossgraph.evaluate.second_look import FIRST_CAPTIONS, FIRST_PICTURES, guess_from, second_look
from crossgraph.evaluate.sources import Source
from crossgraph.memory import release_pages, trim_heap
from crossgraph.models.fast.form import Precision
from crossgraph.progress import ProgressCallback
from crossgraph.provenance import describe_run
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.chosen import ListScorer
from crossgraph.scoring.encode import CodeBlocks, TextBucket
from crossgraph.scoring.engine import DEFAULT_SIZE, score_split

KEPT_BYTES = 3 << 28  # of captions' codes, in memory and in files: 30,000 of 13 words × 1,024 in bfloat16


def cascade_source(
    bundle: Bundle,
    dev: Callable[[], Split],
    split: Split,
    precision: Precision,
    report: Callable[[str], ProgressCallback],
    size: BlockSize = DEFAULT_SIZE,
) -> Source:
    """Score a split by cascade, as a source of an evaluation.

    Args:
        bundle: On its device.
        dev: Opens the split on which margins are chosen, where they are not known yet.
        split: What is evaluated.
        precision: Of the re-ranker.
        report: Makes what hears how far a task is.
        size: Of a block of pairs.

    Raises:
        InputError: The bundle has nothing that chooses pairs, or needs none.
    """
    margins = margins_of(bundle, dev, precision, report, size)
    begun = time.monotonic()
    scores, about = cascade_scores(bundle, split, margins, precision, report, size)
    pairs = about["pairs_by_nearness"] + about["pairs_by_guess"]
    remark = (
        f"a cascade: the nearest {FIRST_PICTURES} pictures of a caption and {FIRST_CAPTIONS} captions of a picture by "
        f"{about['index']} were scored, then what may be as good as their tenth best: {pairs:,} pairs in all "
        f"({about['share']:.1%}); margins chosen on dev"
    )
    model = {**describe_run(bundle.reranker), "cascade": about}
    return Source(str(bundle.path), scores, [model], time.monotonic() - begun, [remark])


def margins_of(
    bundle: Bundle,
    dev: Callable[[], Split],
    precision: Precision,
    report: Callable[[str], ProgressCallback],
    size: BlockSize = DEFAULT_SIZE,
) -> Margins:
    """Return the margins that were chosen on dev; chosen now, and kept in the bundle's folder, where they were not.

    Args:
        bundle: With a sieve, a head or a retriever.
        dev: Opens the split to choose on.
        precision: Of the re-ranker.
        report: Makes what hears how far a task is.
        size: Of a block of pairs.

    Raises:
        InputError: The bundle has nothing that chooses pairs, or needs none.
    """
    if bundle.kind == "independent":
        raise InputError(
            f"{bundle.path}: '{bundle.reranker.info.model}' is independent; its vectors score all pairs in one product",
            "leave --cascade out",
        )
    if bundle.head is None and bundle.retriever is None and bundle.sieve is None:
        raise InputError(
            f"{bundle.path}: has no index of its own, so no short list can be made",
            "make a bundle of the run with 'crossgraph bundle', and give that",
        )
    split = dev()
    known = read_margins(bundle.path)
    if known is not None and (known.dev, known.bundle) == (split.fingerprint(), fingerprint(bundle)):
        return known
    run, told = bundle.reranker, report("all pairs of dev")
    scores = score_split(run.model, run.vocabulary, split, precision=precision, size=size, report=told)
    near = nearness(bundle, split, lambda task: report(f"{task} of dev"), precision).matrix
    found = choose_margins(bundle, split, scores, near)
    keep_margins(bundle.path, found)
    return found


def cascade_scores(
    bundle: Bundle,
    split: Split,
    margins: Margins,
    precision: Precision,
    report: Callable[[str], ProgressCallback],
    size: BlockSize = DEFAULT_SIZE,
) -> tuple[Float32[np.ndarray, "img txt"], dict[str, Any]]:
    """Return scores of all pairs: the re-ranker's where it was asked, below them the order of what chose them.

    Args:
        bundle: With a sieve, a head or a retriever.
        split: Pictures and captions.
        margins: See `margins_of`.
        precision: Of the re-ranker.
        report: Makes what hears how far a task is.
        size: Of a block of pairs.

    Returns:
        The matrix, mapped from a file where it is large; and what a card says of the cascade.
    """
    lists = _Lists(bundle, split, precision, size)
    near = nearness(bundle, split, report, precision, lists.keep)
    first = short_lists(near.matrix, FIRST_PICTURES, FIRST_CAPTIONS)
    release_pages(near.matrix)
    scores = lists.scores(near.images, first, report("scoring the nearest"))
    guess = guess_from(near.matrix, first, scores)
    second = second_look(near.matrix, guess, first, margins.captions, margins.pictures)
    more = lists.scores(near.images, second, report("scoring what may be as good"))
    del lists  # captions' codes need no memory any more
    trim_heap()
    matrix = near.matrix
    highest = max(float(row.max()) for row in matrix)
    lowest = min(float(one.min(initial=np.inf)) for one in (*scores, *more))
    for number, row in enumerate(matrix):
        np.add(row, np.float32(lowest - highest - 1), out=row)
        row[first[number]], row[second[number]] = scores[number], more[number]
    pairs = [sum(map(len, some)) for some in (first, second)]
    about = {"pairs_by_nearness": pairs[0], "pairs_by_guess": pairs[1], "share": sum(pairs) / matrix.size}
    return matrix, {**about, "chosen_on_dev": dataclasses.asdict(margins), "index": near.by}


class _Lists:
    """Scores each picture with captions of its own; captions' codes are kept where they are not too many.

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
        self._kept: ListScorer | None = None
        self._too_many = False

    def keep(self, texts: Iterable[TextBucket]) -> None:
        """Keep codes that were made for something else."""
        buckets = list(texts)
        if self._kept is None and not self._too_many:
            self._kept = self._scorer(range(len(self._lengths)))
            self._too_many = self._kept.needs(buckets[0]) > KEPT_BYTES
        if self._too_many:
            self._kept = None
        elif self._kept is not None:
            self._kept.take(buckets)

    def scores(
        self, images: CodeBlocks, chosen: Sequence[Int64[np.ndarray, " _"]], report: ProgressCallback
    ) -> list[Float32[np.ndarray, " _"]]:
        """Return the scores of each picture with the captions chosen for it."""
        found = [np.empty(len(one), np.float32) for one in chosen]
        done, pairs, captions = 0, sum(map(len, chosen)), len(self._lengths)
        for part in parts_of(captions) if self._kept is None else [range(captions)]:
            trim_heap()
            inside = [slice(*np.searchsorted(one, (part.start, part.stop))) for one in chosen]
            some = [one[where] - part.start for one, where in zip(chosen, inside, strict=True)]
            scorer = self._kept or self._scorer(part)
            if self._kept is None:
                scorer.take(encoded(self._run, self._split, part))
            for one in scorer.scores(images, some, of_whole(report, done, pairs)):
                found[one.image][inside[one.image]] = one.scores
            done += sum(map(len, some))
            del scorer  # before the next part's codes are made
        trim_heap()
        return found

    def _scorer(self, part: range) -> ListScorer:
        lengths = self._lengths[part.start : part.stop]
        return ListScorer(self._run.model, lengths, self._precision, self._size)
