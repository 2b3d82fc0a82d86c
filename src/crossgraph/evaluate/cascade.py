"""Evaluation by cascade: index vectors bring up a short list for every query, the re-ranker scores these pairs alone.

How long the lists are is chosen on dev, once: the shortest by which no recall there differs by more than
`TOLERANCE` from that of all pairs. What is left out keeps its place behind what was scored, in the index's order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from crossgraph.bundle.bundle import Bundle
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.sources import Source
from crossgraph.files import read_json, write_json
from crossgraph.models.folded import Precision
from crossgraph.runs import Run
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.chosen import Chosen, score_chosen
from crossgraph.scoring.encode import ImageBlocks, Report, TextBucket, device_of, encode_captions
from crossgraph.scoring.engine import DEFAULT_SIZE, empty_matrix, score_split
from crossgraph.scoring.provenance import describe_run
from crossgraph.scoring.recall import CUTOFFS

FORMAT_VERSION = 1
FILE = "cascade.json"
TOLERANCE = 0.05  # percentage points of any recall on dev: half of what is promised
SIZES = (10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2500, 5000)
CAPTIONS_AT_A_TIME = 8192  # 440 MB of codes at 13 words × 1,024 in float32
_UNSCORED = np.float32(-np.finfo(np.float32).max)
_ROWS = 256  # of a nearness matrix looked at in one go


@dataclass(frozen=True)
class Lists:
    """Lengths of short lists.

    Attributes:
        pictures: Pictures of a caption's.
        captions: Captions of a picture's.
        dev_pictures: Pictures they were chosen among.
        dev_captions: Captions likewise.
        dev: Fingerprint of that split.
        bundle: Fingerprint of the weights.
        difference: The largest difference of a recall on dev, in percentage points.
    """

    pictures: int
    captions: int
    dev_pictures: int
    dev_captions: int
    dev: str
    bundle: str
    difference: float

    def of(self, pictures: int, captions: int) -> tuple[int, int]:
        """Return the lengths for a gallery of another size: the same share of it, and no less than on dev."""
        longer = max(1.0, pictures / self.dev_pictures), max(1.0, captions / self.dev_captions)
        return min(pictures, math.ceil(self.pictures * longer[0])), min(captions, math.ceil(self.captions * longer[1]))


@dataclass(frozen=True)
class Indexed:
    """A split's index vectors, and its captions' codes.

    Attributes:
        images: A unit vector a picture.
        texts: A unit vector a caption.
        codes: The re-ranker's codes of the captions; None where they are many, and encoded again when scored.
    """

    images: Float32[np.ndarray, "img code"]
    texts: Float32[np.ndarray, "txt code"]
    codes: list[TextBucket] | None


def cascade_source(
    bundle: Bundle,
    dev: Callable[[], Split],
    split: Split,
    precision: Precision,
    report: Callable[[str], Report],
    size: BlockSize = DEFAULT_SIZE,
) -> Source:
    """Score a split by cascade, as a source of an evaluation.

    Args:
        bundle: On its device.
        dev: Opens the split on which the lists' lengths are chosen, where they are not known yet.
        split: What is evaluated.
        precision: Of the re-ranker.
        report: Makes what hears how far a task is.
        size: Of a block of pairs.

    Raises:
        InputError: The bundle has no index of its own.
    """
    lists = lists_of(bundle, dev, precision, report, size)
    begun = time.monotonic()
    scores, about = cascade_scores(bundle, split, lists, precision, report, size)
    remark = (
        f"a cascade: the best {about['pictures']:,} pictures of a caption and {about['captions']:,} captions of a "
        f"picture by {about['index']} were scored, {about['pairs']:,} pairs ({about['share']:.1%}); "
        "lengths chosen on dev"
    )
    model = {**describe_run(bundle.reranker), "cascade": about}
    return Source(str(bundle.path), scores, [model], time.monotonic() - begun, [remark])


def lists_of(
    bundle: Bundle,
    dev: Callable[[], Split],
    precision: Precision,
    report: Callable[[str], Report],
    size: BlockSize = DEFAULT_SIZE,
) -> Lists:
    """Return the lengths that were chosen on dev; chosen now, and kept in the bundle's folder, where they were not.

    Args:
        bundle: With a head or a retriever.
        dev: Opens the split to choose on.
        precision: Of the re-ranker.
        report: Makes what hears how far a task is.
        size: Of a block of pairs.

    Raises:
        InputError: The bundle has no index of its own.
    """
    if bundle.head is None and bundle.retriever is None:
        raise InputError(
            f"{bundle.path}: has no index of its own, so no short list can be made",
            "make a bundle of the run with 'crossgraph bundle', and give that",
        )
    split = dev()
    known = _read(bundle.path / FILE)
    if known is not None and (known.dev, known.bundle) == (split.fingerprint(), bundle.fingerprint):
        return known
    run = bundle.reranker
    told = report("all pairs of dev")
    scores = score_split(run.model, run.vocabulary, split, precision=precision, size=size, report=told)
    indexed = index_split(bundle, split, report("index vectors of dev"))
    nearness = indexed.images @ indexed.texts.T
    captions_of = np.ascontiguousarray(scores.T), np.ascontiguousarray(nearness.T)
    of_captions = shortest(captions_of[1], captions_of[0], _right(split).T)
    of_pictures = shortest(nearness, scores, _right(split))
    worst = max(of_captions[1], of_pictures[1])
    images, captions = scores.shape
    found = Lists(of_captions[0], of_pictures[0], images, captions, split.fingerprint(), bundle.fingerprint, worst)
    with contextlib.suppress(InputError):  # a bundle that cannot be written can still be evaluated
        write_json(bundle.path / FILE, {"format_version": FORMAT_VERSION, **dataclasses.asdict(found)})
    return found


def shortest(
    nearness: Float32[np.ndarray, "query answer"],
    scores: Float32[np.ndarray, "query answer"],
    right: Bool[np.ndarray, "query answer"],
) -> tuple[int, float]:
    """Return the least length by which recalls stay, and by how much the worst of them differs then.

    Args:
        nearness: Of queries to answers.
        scores: The re-ranker's.
        right: Which answers are right; queries without any do not count.
    """
    asked = np.flatnonzero(right.any(axis=1))
    answers = scores.shape[1]
    sizes = sorted({min(size, answers) for size in SIZES} | {answers})
    hits = np.zeros((len(sizes), len(CUTOFFS)))
    for query in asked:
        order = np.argsort(-nearness[query], kind="stable")
        ranked, good = scores[query][order], right[query][order]
        for number, size in enumerate(sizes):
            best = ranked[:size][good[:size]].max(initial=-np.inf)
            above = int((ranked[:size] > best).sum()) if good[:size].any() else answers
            hits[number] += [above < cutoff for cutoff in CUTOFFS]
    recalls = 100 * hits / max(1, len(asked))
    worst = np.abs(recalls - recalls[-1]).max(axis=1)
    chosen = next(number for number in range(len(sizes)) if (worst[number:] <= TOLERANCE).all())
    return sizes[chosen], float(worst[chosen])


def index_split(bundle: Bundle, split: Split, report: Report | None = None) -> Indexed:
    """Return the index vectors of both sides, and the captions' codes where they are few."""
    run, own = bundle.reranker, bundle.retriever
    parts = _parts(len(split.captions))
    texts: Float32[np.ndarray, "txt code"] | None = None
    codes: list[TextBucket] = []
    for part in parts:
        codes = []  # those of the part before need no memory any more
        codes = _encoded(own or run, split, part, _of_whole(report, part.start, len(split.captions)))
        for captions, vectors in _index_texts(bundle, codes):
            texts = np.empty((len(split.captions), vectors.shape[1]), np.float32) if texts is None else texts
            texts[captions + part.start] = vectors.float().cpu().numpy()
    assert texts is not None
    few = None if len(parts) > 1 else codes if own is None else _encoded(run, split, parts[0])
    if own is None:
        head = bundle.head
        assert head is not None
        with torch.inference_mode():
            images = [head.index_images(code) for code in ImageBlocks(run.model, split)]
    else:
        images = [code.index for code in ImageBlocks(own.model, split) if code.index is not None]
    return Indexed(torch.cat(images).float().cpu().numpy(), texts, few)


def _index_texts(bundle: Bundle, buckets: list[TextBucket]) -> Iterator[tuple[Int64[np.ndarray, " txt"], Tensor]]:
    """Give rows of captions with their index vectors; codes are the retriever's, or those that the head reads."""
    if bundle.retriever is not None:
        yield from ((bucket.captions, bucket.code.index) for bucket in buckets if bucket.code.index is not None)
        return
    head = bundle.head
    assert head is not None
    head.to(device_of(bundle.reranker.model)).eval()
    with torch.inference_mode():
        yield from ((bucket.captions, head.index_texts(bucket.code)) for bucket in buckets)


def short_lists(indexed: Indexed, pictures: int, captions: int) -> list[Int64[np.ndarray, " _"]]:
    """Return for each picture the captions it is scored with: its nearest, and those whose nearest it is.

    Args:
        indexed: Vectors of both sides.
        pictures: Length of a caption's list.
        captions: Length of a picture's list.
    """
    found: list[list[Int64[np.ndarray, " _"]]] = [[one] for one in _nearest(indexed.images, indexed.texts, captions)]
    rows = np.concatenate(_nearest(indexed.texts, indexed.images, pictures))
    columns = np.repeat(np.arange(len(indexed.texts)), pictures)
    order = np.argsort(rows, kind="stable")
    ends = np.searchsorted(rows[order], np.arange(len(indexed.images) + 1))
    for picture, lists in enumerate(found):
        lists.append(columns[order[ends[picture] : ends[picture + 1]]])
    return [np.unique(np.concatenate(lists)) for lists in found]


def cascade_scores(
    bundle: Bundle,
    split: Split,
    lists: Lists,
    precision: Precision,
    report: Callable[[str], Report],
    size: BlockSize = DEFAULT_SIZE,
) -> tuple[Float32[np.ndarray, "img txt"], dict[str, Any]]:
    """Return scores of all pairs: the re-ranker's where it was asked, below them the index's order.

    Args:
        bundle: Both models.
        split: Pictures and captions.
        lists: Lengths, see `lists_of`.
        precision: Of the re-ranker.
        report: Makes what hears how far a task is.
        size: Of a block of pairs.

    Returns:
        The matrix, mapped from a file where it is large; and what a card says of the cascade.
    """
    indexed = index_split(bundle, split, report("index vectors"))
    sizes = lists.of(len(split.image_ids), len(split.captions))
    chosen = short_lists(indexed, *sizes)
    pairs = sum(map(len, chosen))
    scores = empty_matrix((len(split.image_ids), len(split.captions)))
    for one in scores:
        one[:] = _UNSCORED
    lowest, done, told = np.inf, 0, report("scoring short lists")
    for part in _parts(len(split.captions)):
        some = [one[(one >= part.start) & (one < part.stop)] - part.start for one in chosen]
        heard = _of_whole(told, done, pairs)
        codes = _encoded(bundle.reranker, split, part) if indexed.codes is None else indexed.codes
        images = ImageBlocks(bundle.reranker.model, split)
        found = score_chosen(bundle.reranker.model, images, codes, some, precision=precision, size=size, report=heard)
        lowest = min(lowest, _fill(scores[:, part.start : part.stop], found))
        done += sum(map(len, some))
        codes = []
    for image, one in enumerate(scores):
        nearness = indexed.texts @ indexed.images[image] + np.float32(lowest - 2)
        one[:] = np.where(one == _UNSCORED, nearness, one)
    about = {"pictures": sizes[0], "captions": sizes[1], "pairs": pairs, "share": pairs / scores.size}
    return scores, {**about, "chosen_on_dev": dataclasses.asdict(lists), "index": bundle.index_by}


def _parts(captions: int) -> list[range]:
    """Cut captions into runs whose codes are in memory together."""
    step = CAPTIONS_AT_A_TIME
    return [range(first, min(first + step, captions)) for first in range(0, captions, step)]


def _encoded(run: Run, split: Split, part: range, report: Report | None = None) -> list[TextBucket]:
    """Encode consecutive captions; rows of buckets count from the first of them."""
    some = slice(part.start, part.stop)
    edges = None if split.edges is None else split.edges[some]
    return encode_captions(run.model, run.vocabulary, split.captions[some], report=report, edges=edges)


def _of_whole(report: Report | None, before: int, total: int) -> Report | None:
    """Return what hears of a part's progress and tells it as the whole's."""
    return None if report is None else lambda what, done, _: report(what, before + done, total)


def _fill(scores: Float32[np.ndarray, "img txt"], found: Iterator[Chosen]) -> float:
    """Put scores where they belong, and return the lowest."""
    lowest = np.inf
    for one in found:
        scores[one.image, one.captions] = one.scores
        lowest = min(lowest, float(one.scores.min(initial=np.inf)))
    return lowest


def _nearest(
    asking: Float32[np.ndarray, "query code"], answers: Float32[np.ndarray, "answer code"], count: int
) -> list[Int64[np.ndarray, " _"]]:
    """Return the nearest answers of each query, in any order."""
    rows: list[Int64[np.ndarray, " _"]] = []
    for first in range(0, len(asking), _ROWS):
        nearness = torch.from_numpy(asking[first : first + _ROWS] @ answers.T)  # pyright: ignore[reportUnknownMemberType]
        rows.extend(nearness.topk(count, dim=1, sorted=False).indices.numpy())
    return rows


def _right(split: Split) -> Bool[np.ndarray, "img txt"]:
    return np.arange(len(split.image_ids))[:, None] == split.caption_image[None]


def _read(path: Path) -> Lists | None:
    try:
        values: object = read_json(path)
    except InputError:
        return None
    if not isinstance(values, dict):
        return None
    entries = dict(cast("Mapping[str, Any]", values))
    if entries.pop("format_version", None) != FORMAT_VERSION:
        return None
    try:
        found = Lists(**entries)
        return found if min(found.pictures, found.captions, found.dev_pictures, found.dev_captions) > 0 else None
    except TypeError:
        return None
