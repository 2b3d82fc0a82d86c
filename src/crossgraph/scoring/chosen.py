"""Scores of chosen pairs: each picture with captions of its own, as a short list asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.models.base import Matcher, Scorer
from crossgraph.models.folded import Precision
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.encode import CodeBlocks, Report, TextBucket, compute_in, device_of, inference
from crossgraph.scoring.engine import DEFAULT_SIZE, prepared_images, prepared_texts
from crossgraph.scoring.progress import counting_pairs
from crossgraph.scoring.workers import Job, workers


@dataclass(frozen=True)
class Chosen:
    """One picture's scores.

    Attributes:
        image: Its row.
        captions: Columns.
        scores: Of the picture with each of these.
    """

    image: int
    captions: Int64[np.ndarray, " chosen"]
    scores: Float32[np.ndarray, " chosen"]


class Shelf:
    """Captions' codes, found by the caption's number; those of one length can be put together.

    Args:
        buckets: Together every caption once.
    """

    def __init__(self, buckets: Sequence[TextBucket]) -> None:
        self._codes = [bucket.code for bucket in buckets]
        count = sum(len(bucket.captions) for bucket in buckets)
        self._bucket, self._place = np.empty(count, np.int64), np.empty(count, np.int64)
        for number, bucket in enumerate(buckets):
            self._bucket[bucket.captions] = number
            self._place[bucket.captions] = np.arange(len(bucket.captions))
        self._words = np.array([code.local.shape[1] for code in self._codes], np.int64)

    def by_length(self, captions: Int64[np.ndarray, " chosen"]) -> Iterator[tuple[np.ndarray, TextCode]]:
        """Give places in `captions` of equally long ones, with their codes in that order."""
        buckets = self._bucket[captions]
        lengths = self._words[buckets]
        for length in np.unique(lengths):
            some = np.flatnonzero(lengths == length)
            some = some[np.argsort(buckets[some], kind="stable")]
            parts: list[TextCode] = []
            for number in np.unique(buckets[some]):
                rows = self._place[captions[some[buckets[some] == number]]]
                parts.append(self._codes[int(number)].select(torch.from_numpy(rows)))  # pyright: ignore[reportUnknownMemberType]
            yield some, parts[0] if len(parts) == 1 else _together(parts)


def score_chosen(
    model: Matcher,
    images: CodeBlocks,
    texts: Sequence[TextBucket],
    chosen: Sequence[Int64[np.ndarray, " _"]],
    *,
    precision: Precision = "float32",
    size: BlockSize = DEFAULT_SIZE,
    report: Report | None = None,
) -> Iterator[Chosen]:
    """Score each picture with the captions chosen for it.

    Args:
        model: Scores, by its folded form where it has one.
        images: Codes of pictures.
        texts: Codes of captions.
        chosen: Columns for each picture.
        precision: bfloat16 computes the matrix products in it.
        size: Of a block of pairs.
        report: Hears how many pairs are done.
    """
    tick, first = counting_pairs(report, sum(len(columns) for columns in chosen)), 0

    with inference(model, precision):
        scorer = model.fold(precision)
        buckets = [TextBucket(b.captions, prepared_texts(scorer, b.code)) for b in texts]
    shelf, most = Shelf(buckets), dict[int, int]()
    with workers(device_of(model)) as crew:
        for block in images:
            with inference(model, precision):
                code = prepared_images(scorer, block)
                wanted = chosen[first : first + len(block)]
                found = [Chosen(first + row, w, np.empty(len(w), np.float32)) for row, w in enumerate(wanted)]
                for bucket in buckets:
                    words = bucket.code.local.shape[1]
                    most[words] = most.get(words) or size.of(scorer, code, bucket.code)
                jobs = (_job(scorer, code, row, shelf, one, most, precision) for row, one in enumerate(found))
                crew.run(jobs, tick)
            first += len(block)
            yield from found


def _job(
    scorer: Scorer,
    images: ImageCode,
    row: int,
    shelf: Shelf,
    into: Chosen,
    most: Mapping[int, int],
    precision: Precision,
) -> Job:
    """Score one picture with its captions, those of a length `most` at a time.

    For every shape of a product in bfloat16 PyTorch's library on a CPU generates code, which takes longer than a small
    product and a megabyte each. So there a block is filled up, by its last caption, to one of few sizes.
    """
    rounded = precision == "bfloat16" and images.local.device.type == "cpu"

    def job() -> int:
        with compute_in(images.local.device, precision):
            image = images.select(slice(row, row + 1)).map(lambda t: t[None])
            for places, code in shelf.by_length(into.captions):
                step = most[code.local.shape[1]]
                for first in range(0, len(places), step):
                    some = places[first : first + step]
                    size = _round_size(len(some), step) if rounded else len(some)
                    rows = slice(first, first + size)
                    if rows.stop > len(places):
                        rows = torch.arange(first, rows.stop).clamp_(max=len(places) - 1)
                    scores = scorer.score(image, code.select(rows).map(lambda t: t[None]))[0, 0, : len(some)]
                    into.scores[some] = scores.float().cpu().numpy()
        return len(into.captions)

    return job


def _round_size(count: int, most: int) -> int:
    """Return the least of 1, 2, 3, 4, 6, 8, 12, 16, 24 … that is no less than a count; at most `most`."""
    power = 1 << (count - 1).bit_length()
    return min(most, power if 4 * count > 3 * power or power < 4 else 3 * power // 4)


def _together(codes: Sequence[TextCode]) -> TextCode:
    """Put codes of one length together."""
    first = codes[0]
    parts = {name: torch.cat([code.parts[name] for code in codes]) for name in first.parts}
    index = None if first.index is None else torch.cat([code.index for code in codes if code.index is not None])
    return TextCode(torch.cat([c.local for c in codes]), torch.cat([c.mask for c in codes]), index, parts)
