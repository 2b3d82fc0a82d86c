"""Coarse scores of all pairs, by a bundle's late-interaction retriever or its index vectors.

They only choose which pairs the re-ranker scores. Captions are encoded chunk by chunk and the matrix is backed by a
file where it is large, so that memory does not grow with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from crossgraph.bundle.bundle import Bundle
from crossgraph.bundle.late_interaction import LateInteractionRetriever
from crossgraph.data.split import Split
from crossgraph.memory import empty_matrix, release_pages, trim_heap
from crossgraph.models.fast.form import DTYPES, Precision
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.encode import (
    CodeBlocks,
    ImageBlocks,
    InMemory,
    SplitCodes,
    TextBucket,
    device_of,
    encode_captions,
    inference,
)
from crossgraph.scoring.engine import ScoringOptions, rows_by

CAPTIONS_PER_CHUNK = 4096  # 220 MB of codes at 13 words × 1,024 in float32
IMAGES_IN_MEMORY = 1500  # 220 MB of codes at 36 regions × 1,024 in float32
_BLOCK = BlockSize(pairs=2048)  # of late interaction: products of 5 MB in bfloat16, a few times a core's cache
_ENCODING = "encoding"
_QUERIES = 256  # rows or columns sorted at once
AddCodes = Callable[[Iterable[TextBucket]], object]


@dataclass(frozen=True)
class CoarseScores:
    """Coarse scores of all pairs, and the re-ranker's picture codes.

    Attributes:
        matrix: Higher is nearer; only the order means anything. Backed by a file where it is large.
        images: The re-ranker's codes of the pictures.
        by: The retriever, in words.
    """

    matrix: Float32[np.ndarray, "img txt"]
    images: CodeBlocks
    by: str


def coarse_scores(
    bundle: Bundle,
    split: Split,
    progress: Callable[[str], ProgressCallback],
    precision: Precision = "float32",
    add_codes: AddCodes | None = None,
) -> CoarseScores:
    """Score every picture with every caption by the late-interaction retriever, or by index vectors.

    Args:
        bundle: With a late-interaction retriever, an index head or a retriever.
        split: Pictures and captions.
        progress: Returns the progress callback of a task.
        precision: Of the late-interaction retriever's products.
        add_codes: Called with the re-ranker's caption codes, chunk by chunk; not where a retriever encodes captions.
    """
    if bundle.late_interaction is not None:
        return _by_late_interaction(bundle.reranker, bundle.late_interaction, split, progress, precision, add_codes)
    return _by_index(bundle, split, progress(_ENCODING), add_codes)


def short_lists(near: Float32[np.ndarray, "img txt"], pictures: int, captions: int) -> list[Int64[np.ndarray, " _"]]:
    """Return for each picture its short list: its nearest captions, and the captions that have it on their list.

    Args:
        near: Coarse scores.
        pictures: Pictures on a caption's list, at most.
        captions: Captions on a picture's list, at most.
    """
    pictures, captions = min(pictures, near.shape[0]), min(captions, near.shape[1])
    found: list[list[Int64[np.ndarray, " _"]]] = [[one] for one in _nearest(near, captions)]
    rows = np.concatenate(_nearest(near.T, pictures))
    columns = np.repeat(np.arange(len(near.T)), pictures)
    order = np.argsort(rows, kind="stable")
    ends = np.searchsorted(rows[order], np.arange(len(near) + 1))
    for picture, lists in enumerate(found):
        lists.append(columns[order[ends[picture] : ends[picture + 1]]])
    return [np.unique(np.concatenate(lists)) for lists in found]


def caption_chunks(captions: int) -> list[range]:
    """Split captions into consecutive chunks whose codes fit in memory."""
    step = CAPTIONS_PER_CHUNK
    return [range(first, min(first + step, captions)) for first in range(0, captions, step)]


def encoded(run: Run, split: Split, part: range, report: ProgressCallback | None = None) -> list[TextBucket]:
    """Encode a chunk of captions; the buckets' rows count from its start."""
    some = slice(part.start, part.stop)
    edges = None if split.edges is None else split.edges[some]
    return encode_captions(run.model, run.vocabulary, split.captions[some], report=report, edges=edges)


def offset_progress(report: ProgressCallback | None, before: int, total: int) -> ProgressCallback | None:
    """Return a progress callback for one chunk that reports the counts of the whole."""
    return None if report is None else lambda task, done, _: report(task, before + done, total)


def _by_late_interaction(
    run: Run,
    retriever: LateInteractionRetriever,
    split: Split,
    progress: Callable[[str], ProgressCallback],
    precision: Precision,
    add_codes: AddCodes | None,
) -> CoarseScores:
    retriever.to(device_of(run.model))
    matrix = empty_matrix((len(split.image_ids), len(split.captions)))
    encoding, comparing = progress(_ENCODING), progress("sifting")
    images = _images(run, split)

    def reduce(tensor: Tensor) -> Tensor:
        return tensor.to(DTYPES[precision]) if tensor.is_floating_point() else tensor

    with inference(retriever):
        pictures = [retriever.prepare_images(code).map(reduce) for code in images]
    trim_heap()
    for part in caption_chunks(len(split.captions)):
        codes = encoded(run, split, part, offset_progress(encoding, part.start, len(split.captions)))
        if add_codes is not None:
            add_codes(_shifted(codes, part.start))
        with inference(retriever):
            texts = [TextBucket(bucket.captions, retriever.prepare_texts(bucket.code).map(reduce)) for bucket in codes]
        del codes  # frees them before the next chunk
        trim_heap()
        row, report = 0, offset_progress(comparing, part.start * len(matrix), matrix.size)
        for rows in rows_by(
            retriever,
            retriever,
            SplitCodes(InMemory(pictures), texts),
            ScoringOptions(precision=precision, size=_BLOCK, progress=report),
        ):
            matrix[row : row + len(rows), part.start : part.stop] = rows
            row += len(rows)
        release_pages(matrix)
    return CoarseScores(matrix, images, "a sieve trained on the re-ranker's scores")


def _by_index(bundle: Bundle, split: Split, report: ProgressCallback, add_codes: AddCodes | None) -> CoarseScores:
    run, own = bundle.reranker, bundle.retriever
    matrix = empty_matrix((len(split.image_ids), len(split.captions)))
    codes_of_images = _images(run, split)
    images = _index_images(bundle, split, codes_of_images)
    for part in caption_chunks(len(split.captions)):
        codes = encoded(own or run, split, part, offset_progress(report, part.start, len(split.captions)))
        if own is None and add_codes is not None:
            add_codes(_shifted(codes, part.start))
        for captions, vectors in _index_texts(bundle, codes):
            matrix[:, captions + part.start] = images @ vectors.float().cpu().numpy().T
        del codes  # frees them before the next chunk
        trim_heap()
        release_pages(matrix)
    return CoarseScores(matrix, codes_of_images, bundle.index_by)


def _shifted(codes: list[TextBucket], by: int) -> Iterator[TextBucket]:
    return (TextBucket(bucket.captions + by, bucket.code) for bucket in codes)


def _images(run: Run, split: Split) -> CodeBlocks:
    """Return picture codes: in memory where they are few, else encoded again at each pass."""
    blocks = ImageBlocks(run.model, split)
    return InMemory(list(blocks)) if len(blocks) <= IMAGES_IN_MEMORY else blocks


def _index_images(bundle: Bundle, split: Split, codes: CodeBlocks) -> Float32[np.ndarray, "img code"]:
    own, head = bundle.retriever, bundle.head
    if own is not None:
        images = [code.index for code in ImageBlocks(own.model, split) if code.index is not None]
    else:
        assert head is not None
        head.to(device_of(bundle.reranker.model))
        with inference(head):
            images = [head.index_images(code) for code in codes]
    return torch.cat(images).float().cpu().numpy()


def _index_texts(bundle: Bundle, buckets: list[TextBucket]) -> Iterator[tuple[Int64[np.ndarray, " txt"], Tensor]]:
    """Yield rows of captions with their index vectors, from the retriever's codes or by the index head."""
    if bundle.retriever is not None:
        yield from ((bucket.captions, bucket.code.index) for bucket in buckets if bucket.code.index is not None)
        return
    head = bundle.head
    assert head is not None
    with inference(head):
        yield from ((bucket.captions, head.index_texts(bucket.code)) for bucket in buckets)


def _nearest(near: Float32[np.ndarray, "query answer"], count: int) -> list[Int64[np.ndarray, " _"]]:
    """Return the nearest answers of each query, in any order."""
    rows: list[Int64[np.ndarray, " _"]] = []
    for first in range(0, len(near), _QUERIES):
        some = torch.from_numpy(np.ascontiguousarray(near[first : first + _QUERIES]))  # pyright: ignore[reportUnknownMemberType]
        rows.extend(some.topk(count, dim=1, sorted=False).indices.numpy())
    return rows
