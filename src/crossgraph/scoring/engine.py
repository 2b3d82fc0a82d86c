"""Score every picture of a split with every caption, block by block, in memory that does not grow with the split.

Captions are encoded in chunks of some thousands. For each chunk the pictures are encoded again, a hundred at a time,
which costs little beside the scoring. Blocks of scores are yielded as soon as they are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

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
from crossgraph.scoring.compatibility import check_fits
from crossgraph.scoring.encode import (
    ImageBlocks,
    SplitCodes,
    TextBucket,
    compute_in,
    device_of,
    encode_captions,
    inference,
)
from crossgraph.scoring.workers import Job, Workers, workers
from crossgraph.text.vocabulary import Vocabulary

CAPTIONS_PER_CHUNK = 4096  # 220 MB of codes at 13 words × 1,024 in float32
INDEPENDENT_PER_CHUNK = 1 << 16  # captions of an independent model: one vector each, 256 MB
INDEPENDENT_PAIRS = 1 << 20  # pairs per block of an independent model: one matrix product
DEFAULT_SIZE = BlockSize()


@dataclass(frozen=True)
class ScoringOptions:
    """How pairs are scored.

    Attributes:
        precision: bfloat16 computes the matrix products in it; scores are float32 either way.
        size: Size of a block of pairs.
        progress: Called with the progress of captions and pairs.
        name: Name of the model in messages.
    """

    precision: Precision = "float32"
    size: BlockSize = DEFAULT_SIZE
    progress: ProgressCallback | None = None
    name: str = "the model"


DEFAULT_OPTIONS = ScoringOptions()


@dataclass(frozen=True)
class ScoreBlock:
    """Scores of consecutive pictures with consecutive captions.

    Attributes:
        image: Row of the first picture.
        caption: Column of the first caption.
        scores: Of all pairs of these.
    """

    image: int
    caption: int
    scores: Float32[np.ndarray, "img txt"]


def score_split(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    options: ScoringOptions = DEFAULT_OPTIONS,
) -> Float32[np.ndarray, "img txt"]:
    """Score every picture of a split with every caption.

    Args:
        model: On the device to use; its modes are left as they are.
        vocabulary: The model's.
        split: Pictures and captions.
        options: Precision, block size, progress.

    Returns:
        Scores; a large matrix is mapped from a file that vanishes with it.

    Raises:
        InputError: The split does not fit the model, or its features hold NaN.
    """
    shape = (len(split.image_ids), len(split.captions))
    portions = score_blocks_of_split(model, vocabulary, split, options)
    return gather(portions, shape)


def score_blocks_of_split(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    options: ScoringOptions = DEFAULT_OPTIONS,
) -> Iterator[ScoreBlock]:
    """Score a split as `score_split` does, and yield blocks; each pair is in exactly one."""
    check_fits(model.inputs, vocabulary, split, options.name)
    # what is rounded in a code is rounded in all its pairs, and encoding is a small part of the work
    encoding: Precision = options.precision if model.kind == "independent" else "float32"
    images = ImageBlocks(model, split, encoding)
    progress = ProgressOffset(options.progress, len(images), len(split.captions))
    portion = INDEPENDENT_PER_CHUNK if model.kind == "independent" else CAPTIONS_PER_CHUNK
    for first in range(0, len(split.captions), portion):
        last = min(first + portion, len(split.captions))
        codes = SplitCodes(images, _encode_chunk(model, vocabulary, split, first, last, encoding, progress))
        row = 0
        for rows in score_rows(model, codes, replace(options, progress=progress.pairs(first))):
            yield ScoreBlock(row, first, rows)
            row += len(rows)


def score_matrix(
    model: Matcher,
    codes: SplitCodes,
    options: ScoringOptions = DEFAULT_OPTIONS,
) -> Float32[np.ndarray, "img txt"]:
    """Score codes with each other.

    Returns:
        Scores, images × captions, in the split's order.
    """
    captions = sum(len(bucket.captions) for bucket in codes.texts)
    scores = np.empty((len(codes.images), captions), dtype=np.float32)
    row = 0
    for rows in score_rows(model, codes, options):
        scores[row : row + len(rows)] = rows
        row += len(rows)
    return scores


def gather(portions: Iterable[ScoreBlock], shape: tuple[int, int]) -> Float32[np.ndarray, "img txt"]:
    """Collect blocks into one matrix; a large one is backed by an anonymous file."""
    scores = empty_matrix(shape)
    for portion in portions:
        rows, columns = portion.scores.shape
        scores[portion.image : portion.image + rows, portion.caption : portion.caption + columns] = portion.scores
    return scores


def score_rows(
    model: Matcher,
    codes: SplitCodes,
    options: ScoringOptions = DEFAULT_OPTIONS,
) -> Iterator[Float32[np.ndarray, "img txt"]]:
    """Score codes with each other, and yield whole rows: all captions of some pictures.

    Args:
        model: Scores, by its folded form where it has one.
        codes: Both sides.
        options: Precision, block size, progress.
    """
    with inference(model, options.precision):
        scorer = model.fold(options.precision)
        if model.kind == "independent":
            codes = SplitCodes(codes.images, [one_bucket(codes.texts)])
            options = replace(options, size=BlockSize(pairs=options.size.pairs or INDEPENDENT_PAIRS))
    yield from rows_by(model, scorer, codes, options)


def rows_by(
    owner: nn.Module,
    scorer: Scorer,
    codes: SplitCodes,
    options: ScoringOptions = DEFAULT_OPTIONS,
) -> Iterator[Float32[np.ndarray, "img txt"]]:
    """Score codes as `score_rows` does, by any scorer.

    Args:
        owner: In evaluation mode while it is computed.
        scorer: The owner itself, or its folded form.
        codes: Both sides.
        options: Precision, block size, progress.
    """
    captions = sum(len(bucket.captions) for bucket in codes.texts)
    tick = pair_counter(options.progress, len(codes.images) * captions)

    with workers(device_of(owner)) as crew:
        for images in codes.images:
            rows = np.empty((len(images), captions), dtype=np.float32)
            with inference(owner, options.precision):
                code = prepared_images(scorer, images)
                crew.run(_jobs(scorer, code, codes.texts, rows, options.precision, options.size), tick)
            yield rows


def score_bucket(
    scorer: Scorer, images: ImageCode, bucket: TextBucket, tick: Callable[[int], None], size: BlockSize = DEFAULT_SIZE
) -> Float32[np.ndarray, "img txt"]:
    """Score a block of pictures with a bucket, in calls within the memory budget.

    Args:
        scorer: A model or its folded form.
        images: Codes of some pictures.
        bucket: Codes of some captions.
        tick: Called with the number of newly scored pairs.
        size: Of a block of pairs.
    """
    scores = np.empty((len(images), len(bucket.captions)), dtype=np.float32)
    some = TextBucket(np.arange(len(bucket.captions)), bucket.code)
    Workers(None, 1).run(_jobs(scorer, prepared_images(scorer, images), [some], scores, None, size), tick)
    return scores


def prepared_images(scorer: Scorer, code: ImageCode) -> ImageCode:
    """Return picture codes prepared for a scorer; codes without a group axis."""
    return scorer.prepare_images(code) if isinstance(scorer, Prepares) else code


def prepared_texts(scorer: Scorer, code: TextCode) -> TextCode:
    """Return caption codes prepared for a scorer; codes without a group axis."""
    return scorer.prepare_texts(code) if isinstance(scorer, Prepares) else code


def one_bucket(buckets: Sequence[TextBucket]) -> TextBucket:
    """Merge the buckets of an independent model in caption order; only their `index` vectors are read.

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


def _encode_chunk(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    first: int,
    last: int,
    precision: Precision,
    progress: ProgressOffset,
) -> list[TextBucket]:
    """Encode a chunk of captions; of an independent model's codes only the index vectors stay."""
    buckets: list[TextBucket] = []
    for start in range(first, last, CAPTIONS_PER_CHUNK):
        some = slice(start, min(start + CAPTIONS_PER_CHUNK, last))
        edges = None if split.edges is None else split.edges[some]
        buckets_of_chunk = encode_captions(
            model, vocabulary, split.captions[some], precision, progress.captions(start), edges
        )
        if model.kind == "independent":
            buckets_of_chunk = [one_bucket(buckets_of_chunk)]
        buckets += [TextBucket(bucket.captions + (start - first), bucket.code) for bucket in buckets_of_chunk]
    return buckets


def _jobs(
    scorer: Scorer,
    images: ImageCode,
    buckets: Sequence[TextBucket],
    scores: Float32[np.ndarray, "img txt"],
    precision: Precision | None,
    size: BlockSize,
) -> Iterator[Job]:
    """Yield jobs that score pictures × captions in blocks; each writes its own part of `scores`.

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
    # Consecutive captions are written through a slice: an independent model is limited by memory bandwidth.
    consecutive = columns[-1] - columns[0] == len(columns) - 1 and bool((np.diff(columns) == 1).all())
    target = slice(int(columns[0]), int(columns[-1]) + 1) if consecutive else columns

    def job() -> int:
        if precision is None:
            block = scorer.score(images.select(rows).map(lambda t: t[None]), text)[0]
        else:
            with compute_in(images.local.device, precision):
                block = scorer.score(images.select(rows).map(lambda t: t[None]), text)[0]
        scores[rows, target] = block.float().cpu().numpy()
        return block.numel()

    return job


class ProgressOffset:
    """Turns the progress of chunks of captions into counts of the whole matrix."""

    def __init__(self, report: ProgressCallback | None, images: int, captions: int) -> None:
        self._report, self._images, self._captions = report, images, captions

    def captions(self, first: int) -> ProgressCallback | None:
        """Return a progress callback for encoding one chunk of captions."""
        return self._shifted(first, self._captions)

    def pairs(self, first: int) -> ProgressCallback | None:
        """Return a progress callback for scoring one chunk of captions."""
        return self._shifted(first * self._images, self._captions * self._images)

    def _shifted(self, before: int, total: int) -> ProgressCallback | None:
        report = self._report
        return None if report is None else lambda task, done, _: report(task, before + done, total)
