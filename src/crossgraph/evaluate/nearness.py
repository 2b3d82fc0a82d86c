"""What a cascade chooses pairs by: how near every picture is to every caption, cheaply.

A bundle's index vectors tell it by their cosines; a sieve, where the bundle has one, by looking at every pair coarsely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from crossgraph.bundle.bundle import Bundle
from crossgraph.bundle.sieve import Sieve
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
from crossgraph.scoring.engine import rows_by

CAPTIONS_AT_A_TIME = 4096  # 220 MB of codes at 13 words × 1,024 in float32
IMAGES_KEPT = 1500  # 220 MB of codes at 36 regions × 1,024 in float32
_BLOCK = BlockSize(pairs=2048)  # of a sieve: products of 5 MB in bfloat16, a few times what a core caches
_ENCODING = "encoding"
_LOOKED_AT = 256  # rows or columns of a matrix in one go
Keep = Callable[[Iterable[TextBucket]], object]


@dataclass(frozen=True)
class Nearness:
    """How near pictures and captions are, and the pictures' codes.

    Attributes:
        matrix: Higher is nearer; says nothing else. Mapped from a file where it is large.
        images: The re-ranker's codes of the pictures.
        by: What tells it, in words.
    """

    matrix: Float32[np.ndarray, "img txt"]
    images: CodeBlocks
    by: str


def nearness(
    bundle: Bundle,
    split: Split,
    told: Callable[[str], ProgressCallback],
    precision: Precision = "float32",
    keep: Keep | None = None,
) -> Nearness:
    """Compare every picture of a split with every caption, by the bundle's sieve or its index vectors.

    Args:
        bundle: With a sieve, a head or a retriever.
        split: Pictures and captions.
        told: Makes what hears how far a task is.
        precision: Of a sieve's look at all pairs.
        keep: Hears the re-ranker's codes of the captions, some thousand at a time; not where a retriever's are made.
    """
    if bundle.sieve is not None:
        return _by_sieve(bundle.reranker, bundle.sieve, split, told, precision, keep)
    return _by_index(bundle, split, told(_ENCODING), keep)


def short_lists(near: Float32[np.ndarray, "img txt"], pictures: int, captions: int) -> list[Int64[np.ndarray, " _"]]:
    """Return for each picture the captions it is scored with: its nearest, and those whose nearest it is.

    Args:
        near: How near they are.
        pictures: Length of a caption's list, at most.
        captions: Length of a picture's list, at most.
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


def parts_of(captions: int) -> list[range]:
    """Cut captions into runs whose codes are in memory together."""
    step = CAPTIONS_AT_A_TIME
    return [range(first, min(first + step, captions)) for first in range(0, captions, step)]


def encoded(run: Run, split: Split, part: range, report: ProgressCallback | None = None) -> list[TextBucket]:
    """Encode consecutive captions; rows of buckets count from the first of them."""
    some = slice(part.start, part.stop)
    edges = None if split.edges is None else split.edges[some]
    return encode_captions(run.model, run.vocabulary, split.captions[some], report=report, edges=edges)


def of_whole(report: ProgressCallback | None, before: int, total: int) -> ProgressCallback | None:
    """Return what hears of a part's progress and tells it as the whole's."""
    return None if report is None else lambda what, done, _: report(what, before + done, total)


def _by_sieve(
    run: Run,
    sieve: Sieve,
    split: Split,
    told: Callable[[str], ProgressCallback],
    precision: Precision,
    keep: Keep | None,
) -> Nearness:
    sieve.to(device_of(run.model))
    matrix = empty_matrix((len(split.image_ids), len(split.captions)))
    encoding, sifting = told(_ENCODING), told("sifting")
    images = _images(run, split)

    def kept(tensor: Tensor) -> Tensor:
        return tensor.to(DTYPES[precision]) if tensor.is_floating_point() else tensor

    with inference(sieve):
        pictures = [sieve.prepare_images(code).map(kept) for code in images]
    trim_heap()
    for part in parts_of(len(split.captions)):
        codes = encoded(run, split, part, of_whole(encoding, part.start, len(split.captions)))
        if keep is not None:
            keep(_shifted(codes, part.start))
        with inference(sieve):
            texts = [TextBucket(bucket.captions, sieve.prepare_texts(bucket.code).map(kept)) for bucket in codes]
        del codes  # need no memory any more
        trim_heap()
        row, heard = 0, of_whole(sifting, part.start * len(matrix), matrix.size)
        for rows in rows_by(sieve, sieve, SplitCodes(InMemory(pictures), texts), precision, _BLOCK, heard):
            matrix[row : row + len(rows), part.start : part.stop] = rows
            row += len(rows)
        release_pages(matrix)
    return Nearness(matrix, images, "a sieve trained on the re-ranker's scores")


def _by_index(bundle: Bundle, split: Split, report: ProgressCallback, keep: Keep | None) -> Nearness:
    run, own = bundle.reranker, bundle.retriever
    matrix = empty_matrix((len(split.image_ids), len(split.captions)))
    codes_of_images = _images(run, split)
    images = _index_images(bundle, split, codes_of_images)
    for part in parts_of(len(split.captions)):
        codes = encoded(own or run, split, part, of_whole(report, part.start, len(split.captions)))
        if own is None and keep is not None:
            keep(_shifted(codes, part.start))
        for captions, vectors in _index_texts(bundle, codes):
            matrix[:, captions + part.start] = images @ vectors.float().cpu().numpy().T
        del codes  # need no memory any more
        trim_heap()
        release_pages(matrix)
    return Nearness(matrix, codes_of_images, bundle.index_by)


def _shifted(codes: list[TextBucket], by: int) -> Iterator[TextBucket]:
    return (TextBucket(bucket.captions + by, bucket.code) for bucket in codes)


def _images(run: Run, split: Split) -> CodeBlocks:
    """Return pictures' codes: encoded once where they are few, else anew whenever one walks over them."""
    blocks = ImageBlocks(run.model, split)
    return InMemory(list(blocks)) if len(blocks) <= IMAGES_KEPT else blocks


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
    """Give rows of captions with their index vectors; codes are the retriever's, or those that the head reads."""
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
    for first in range(0, len(near), _LOOKED_AT):
        some = torch.from_numpy(np.ascontiguousarray(near[first : first + _LOOKED_AT]))  # pyright: ignore[reportUnknownMemberType]
        rows.extend(some.topk(count, dim=1, sorted=False).indices.numpy())
    return rows
