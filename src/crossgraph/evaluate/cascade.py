"""Evaluation by cascade: an index or a sieve brings up a short list for every query, which alone the re-ranker scores.

How long the lists are is chosen on dev, once: the shortest by which no recall there differs by more than
`TOLERANCE` from that of all pairs. What is left out stays behind what was scored, in the order of what brings it up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float32

from crossgraph.bundle.bundle import Bundle
from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.evaluate.nearness import encoded, nearness, of_whole, parts_of, short_lists
from crossgraph.evaluate.sources import Source
from crossgraph.files import read_json, write_json
from crossgraph.models.folded import Precision
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.chosen import Chosen, score_chosen
from crossgraph.scoring.encode import Report
from crossgraph.scoring.engine import DEFAULT_SIZE, score_split
from crossgraph.scoring.provenance import describe_run
from crossgraph.scoring.recall import CUTOFFS

FORMAT_VERSION = 1
FILE = "cascade.json"
TOLERANCE = 0.05  # percentage points of any recall on dev: half of what is promised
SIZES = (10, 15, 20, 25, 30, 40, 50, 60, 75, 100, 125, 150, 200, 300, 400, 500, 750, 1000, 1500, 2500, 5000)


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
        InputError: The bundle has nothing that chooses pairs, or needs none.
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
    known = _read(bundle.path / FILE)
    if known is not None and (known.dev, known.bundle) == (split.fingerprint(), _weights(bundle)):
        return known
    run = bundle.reranker
    told = report("all pairs of dev")
    scores = score_split(run.model, run.vocabulary, split, precision=precision, size=size, report=told)
    near = nearness(bundle, split, lambda task: report(f"{task} of dev")).matrix
    of_captions = shortest(np.ascontiguousarray(near.T), np.ascontiguousarray(scores.T), _right(split).T)
    of_pictures = shortest(near, scores, _right(split))
    worst = max(of_captions[1], of_pictures[1])
    images, captions = scores.shape
    found = Lists(of_captions[0], of_pictures[0], images, captions, split.fingerprint(), _weights(bundle), worst)
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


def cascade_scores(
    bundle: Bundle,
    split: Split,
    lists: Lists,
    precision: Precision,
    report: Callable[[str], Report],
    size: BlockSize = DEFAULT_SIZE,
) -> tuple[Float32[np.ndarray, "img txt"], dict[str, Any]]:
    """Return scores of all pairs: the re-ranker's where it was asked, below them the order of what chose them.

    Args:
        bundle: With a sieve, a head or a retriever.
        split: Pictures and captions.
        lists: Lengths, see `lists_of`.
        precision: Of the re-ranker.
        report: Makes what hears how far a task is.
        size: Of a block of pairs.

    Returns:
        The matrix, mapped from a file where it is large; and what a card says of the cascade.
    """
    near = nearness(bundle, split, report)
    scores = near.matrix
    highest = max(float(one.max()) for one in scores)
    sizes = lists.of(*scores.shape)
    chosen = short_lists(scores, *sizes)
    pairs = sum(map(len, chosen))
    lowest, done, told = np.inf, 0, report("scoring short lists")
    for part in parts_of(len(split.captions)):
        some = [one[(one >= part.start) & (one < part.stop)] - part.start for one in chosen]
        heard = of_whole(told, done, pairs)
        codes = encoded(bundle.reranker, split, part) if near.codes is None else near.codes
        model = bundle.reranker.model
        found = score_chosen(model, near.images, codes, some, precision=precision, size=size, report=heard)
        lowest = min(lowest, _fill(scores[:, part.start : part.stop], found))
        done += sum(map(len, some))
        codes = []
    for one, scored in zip(scores, chosen, strict=True):
        rest = np.ones(len(one), dtype=bool)
        rest[scored] = False
        one[rest] += np.float32(lowest - highest - 1)
    about = {"pictures": sizes[0], "captions": sizes[1], "pairs": pairs, "share": pairs / scores.size}
    return scores, {**about, "chosen_on_dev": dataclasses.asdict(lists), "index": near.by}


def _fill(scores: Float32[np.ndarray, "img txt"], found: Iterator[Chosen]) -> float:
    """Put scores where they belong, and return the lowest."""
    lowest = np.inf
    for one in found:
        scores[one.image, one.captions] = one.scores
        lowest = min(lowest, float(one.scores.min(initial=np.inf)))
    return lowest


def _weights(bundle: Bundle) -> str:
    """Return a digest of all that the lists' lengths depend on."""
    if bundle.sieve is None:
        return bundle.fingerprint
    digest = hashlib.sha256(bundle.fingerprint.encode())
    for name, tensor in sorted(bundle.sieve.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


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
