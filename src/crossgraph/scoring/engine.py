"""Every picture of a split with every caption, block by block, in memory that does not grow with the split.

Captions are encoded some thousands at a time and pictures a hundred at a time, anew for each portion of captions
(which costs little beside scoring them); scores leave as soon as they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.data.split import Split
from crossgraph.memory import empty_matrix
from crossgraph.models.base import Matcher, Scorer
from crossgraph.models.fast.form import Precision, Prepares
from crossgraph.progress import ProgressCallback, pair_counter
from crossgraph.scoring.blocks import SAMPLE, BlockSize, block_shape
from crossgraph.scoring.encode import (
    ImageBlocks,
    SplitCodes,
    TextBucket,
    compute_in,
    device_of,
    encode_captions,
    inference,
)
from crossgraph.scoring.fit import check_fits
from crossgraph.scoring.portion import Portion
from crossgraph.scoring.workers import Job, Workers, workers
from crossgraph.text.vocabulary import Vocabulary

CAPTIONS_PER_PORTION = 4096  # 220 MB of codes at 13 words × 1,024 in float32
INDEPENDENT_PER_PORTION = 1 << 16  # of whose captions one vector each is kept: 256 MB
INDEPENDENT_PAIRS = 1 << 20  # of a block of vectors, whose product is all there is to compute
DEFAULT_SIZE = BlockSize()


def score_split(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    *,
    precision: Precision = "float32",
    size: BlockSize = DEFAULT_SIZE,
    report: ProgressCallback | None = None,
    name: str = "the model",
) -> Float32[np.ndarray, "img txt"]:
    """Score every picture of a split with every caption.

    Args:
        model: On the device to use; its modes are left as they are.
        vocabulary: The model's.
        split: Pictures and captions.
        precision: bfloat16 computes the matrix products in it; scores are float32 either way.
        size: Of a block of pairs.
        report: Hears how far it is.
        name: What the model is called in messages.

    Returns:
        Scores; a large matrix is mapped from a file that vanishes with it.

    Raises:
        InputError: The split does not fit the model, or its features hold NaN.
    """
    shape = (len(split.image_ids), len(split.captions))
    portions = split_portions(model, vocabulary, split, precision=precision, size=size, report=report, name=name)
    return gather(portions, shape)


def split_portions(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    *,
    precision: Precision = "float32",
    size: BlockSize = DEFAULT_SIZE,
    report: ProgressCallback | None = None,
    name: str = "the model",
) -> Iterator[Portion]:
    """Score a split as `score_split` does, giving portions as they get ready; each pair is in exactly one."""
    check_fits(model.inputs, vocabulary, split, name)
    # what is rounded in a code is rounded in all its pairs, and encoding is a small part of the work
    encoding: Precision = precision if model.kind == "independent" else "float32"
    images = ImageBlocks(model, split, encoding)
    told = _Told(report, len(images), len(split.captions))
    portion = INDEPENDENT_PER_PORTION if model.kind == "independent" else CAPTIONS_PER_PORTION
    for first in range(0, len(split.captions), portion):
        last = min(first + portion, len(split.captions))
        codes = SplitCodes(images, _portion_of_captions(model, vocabulary, split, first, last, encoding, told))
        row = 0
        for rows in score_rows(model, codes, precision=precision, size=size, report=told.pairs(first)):
            yield Portion(row, first, rows)
            row += len(rows)


def score_matrix(
    model: Matcher,
    codes: SplitCodes,
    *,
    precision: Precision = "float32",
    size: BlockSize = DEFAULT_SIZE,
    report: ProgressCallback | None = None,
) -> Float32[np.ndarray, "img txt"]:
    """Score codes with each other.

    Returns:
        Scores, images × captions, in the split's order.
    """
    captions = sum(len(bucket.captions) for bucket in codes.texts)
    scores = np.empty((len(codes.images), captions), dtype=np.float32)
    row = 0
    for rows in score_rows(model, codes, precision=precision, size=size, report=report):
        scores[row : row + len(rows)] = rows
        row += len(rows)
    return scores


def gather(portions: Iterable[Portion], shape: tuple[int, int]) -> Float32[np.ndarray, "img txt"]:
    """Return portions as one matrix of the given shape; a large one mapped from a nameless file."""
    scores = empty_matrix(shape)
    for portion in portions:
        rows, columns = portion.scores.shape
        scores[portion.image : portion.image + rows, portion.caption : portion.caption + columns] = portion.scores
    return scores


def score_rows(
    model: Matcher,
    codes: SplitCodes,
    *,
    precision: Precision = "float32",
    size: BlockSize = DEFAULT_SIZE,
    report: ProgressCallback | None = None,
) -> Iterator[Float32[np.ndarray, "img txt"]]:
    """Score codes with each other, giving whole rows as they get ready: all captions of some pictures.

    Args:
        model: Scores, by its folded form where it has one.
        codes: Both sides.
        precision: bfloat16 computes the matrix products in it.
        size: Of a block of pairs.
        report: Hears how many pairs are done.
    """
    with inference(model, precision):
        scorer = model.fold(precision)
        buckets = codes.texts
        if model.kind == "independent":
            buckets, size = [one_bucket(buckets)], BlockSize(pairs=size.pairs or INDEPENDENT_PAIRS)
    yield from rows_by(model, scorer, SplitCodes(codes.images, buckets), precision, size, report)


def rows_by(
    owner: nn.Module,
    scorer: Scorer,
    codes: SplitCodes,
    precision: Precision = "float32",
    size: BlockSize = DEFAULT_SIZE,
    report: ProgressCallback | None = None,
) -> Iterator[Float32[np.ndarray, "img txt"]]:
    """Score codes as `score_rows` does, by a scorer of which only the owner of its weights is known.

    Args:
        owner: In evaluation mode while it is computed.
        scorer: The owner itself, or its folded form.
        codes: Both sides.
        precision: bfloat16 computes the matrix products in it.
        size: Of a block of pairs.
        report: Hears how many pairs are done.
    """
    captions = sum(len(bucket.captions) for bucket in codes.texts)
    tick = pair_counter(report, len(codes.images) * captions)

    with workers(device_of(owner)) as crew:
        for images in codes.images:
            rows = np.empty((len(images), captions), dtype=np.float32)
            with inference(owner, precision):
                code = prepared_images(scorer, images)
                crew.run(_jobs(scorer, code, codes.texts, rows, precision, size), tick)
            yield rows


def score_bucket(
    scorer: Scorer, images: ImageCode, bucket: TextBucket, tick: Callable[[int], None], size: BlockSize = DEFAULT_SIZE
) -> Float32[np.ndarray, "img txt"]:
    """Score a block of pictures with a bucket, cut so that the pair tensors keep to the budget.

    Args:
        scorer: A model or its folded form.
        images: Codes of some pictures.
        bucket: Codes of some captions.
        tick: Hears how many more pairs are done.
        size: Of a block of pairs.
    """
    scores = np.empty((len(images), len(bucket.captions)), dtype=np.float32)
    some = TextBucket(np.arange(len(bucket.captions)), bucket.code)
    Workers(None, 1).run(_jobs(scorer, prepared_images(scorer, images), [some], scores, None, size), tick)
    return scores


def prepared_images(scorer: Scorer, code: ImageCode) -> ImageCode:
    """Return pictures' codes as a scorer takes them fastest; codes without a group axis."""
    return scorer.prepare_images(code) if isinstance(scorer, Prepares) else code


def prepared_texts(scorer: Scorer, code: TextCode) -> TextCode:
    """Return captions' codes as a scorer takes them fastest; codes without a group axis."""
    return scorer.prepare_texts(code) if isinstance(scorer, Prepares) else code


def one_bucket(buckets: Sequence[TextBucket]) -> TextBucket:
    """Put the captions of an independent model together in order: their `index` vectors are all that is read.

    Args:
        buckets: Together they hold every caption, counted from 0, once.
    """
    first, count = buckets[0].code, sum(len(bucket.captions) for bucket in buckets)
    assert first.index is not None
    index = first.index.new_empty(count, first.index.shape[1])
    for bucket in buckets:
        assert bucket.code.index is not None
        index[torch.from_numpy(bucket.captions)] = bucket.code.index  # pyright: ignore[reportUnknownMemberType]
    local = first.local.new_zeros(1, 1, first.local.shape[-1]).expand(count, 1, -1)
    return TextBucket(np.arange(count), TextCode(local, first.mask.new_ones(count, 1), index))


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to score on: the accelerator where there is one, unless told otherwise.

    Args:
        name: "auto", "cpu", "cuda", or one of several accelerators ("cuda:1").

    Raises:
        InputError: The name is none of these, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:  # of PyTorch's, with all the names that its sources know
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device {name}: not a device that is computed on here", "give auto, cpu or cuda")
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise InputError(f"--device {name}: PyTorch finds no such device", "leave --device out, or give cpu")
    return device


def _portion_of_captions(
    model: Matcher, vocabulary: Vocabulary, split: Split, first: int, last: int, precision: Precision, told: _Told
) -> list[TextBucket]:
    """Encode consecutive captions; of an independent model's codes only the vectors are kept."""
    buckets: list[TextBucket] = []
    for start in range(first, last, CAPTIONS_PER_PORTION):
        some = slice(start, min(start + CAPTIONS_PER_PORTION, last))
        edges = None if split.edges is None else split.edges[some]
        found = encode_captions(model, vocabulary, split.captions[some], precision, told.captions(start), edges)
        if model.kind == "independent":
            found = [one_bucket(found)]
        buckets += [TextBucket(bucket.captions + (start - first), bucket.code) for bucket in found]
    return buckets


def _jobs(
    scorer: Scorer,
    images: ImageCode,
    buckets: Sequence[TextBucket],
    scores: Float32[np.ndarray, "img txt"],
    precision: Precision | None,
    size: BlockSize,
) -> Iterator[Job]:
    """Cut pictures × captions into blocks; each job writes its part of `scores`, which is no other's.

    Captions are prepared for as many pictures as there are here: what that adds to a code may be large.
    `precision` None: jobs run in the caller's thread, which has chosen one.
    """
    for bucket in buckets:
        sample = prepared_texts(scorer, bucket.code.select(slice(0, SAMPLE)))
        some_images, some_captions = block_shape(size.of(scorer, images, sample), len(images), len(bucket.captions))
        for first in range(0, len(bucket.captions), some_captions):
            columns = slice(first, first + some_captions)
            text = prepared_texts(scorer, bucket.code.select(columns)).map(lambda t: t[None])
            for start in range(0, len(images), some_images):
                yield _job(
                    scorer, images, slice(start, start + some_images), text, bucket.captions[columns], scores, precision
                )


def _job(
    scorer: Scorer,
    images: ImageCode,
    rows: slice,
    text: TextCode,
    columns: np.ndarray,
    scores: Float32[np.ndarray, "img txt"],
    precision: Precision | None,
) -> Job:
    # captions that lie side by side are written as they lie, which an independent model is bound by
    together = columns[-1] - columns[0] == len(columns) - 1 and bool((np.diff(columns) == 1).all())
    place = slice(int(columns[0]), int(columns[-1]) + 1) if together else columns

    def job() -> int:
        if precision is None:
            block = scorer.score(images.select(rows).map(lambda t: t[None]), text)[0]
        else:
            with compute_in(images.local.device, precision):
                block = scorer.score(images.select(rows).map(lambda t: t[None]), text)[0]
        scores[rows, place] = block.float().cpu().numpy()
        return block.numel()

    return job


class _Told:
    """Turns what is heard of portions of captions into counts of the whole."""

    def __init__(self, report: ProgressCallback | None, images: int, captions: int) -> None:
        self._report, self._images, self._captions = report, images, captions

    def captions(self, first: int) -> ProgressCallback | None:
        """Return what hears of a portion's captions."""
        return self._shifted(first, self._captions)

    def pairs(self, first: int) -> ProgressCallback | None:
        """Return what hears of a portion's pairs."""
        return self._shifted(first * self._images, self._captions * self._images)

    def _shifted(self, before: int, total: int) -> ProgressCallback | None:
        report = self._report
        return None if report is None else lambda what, done, _: report(what, before + done, total)
