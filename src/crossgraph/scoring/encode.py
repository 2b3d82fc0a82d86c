"""Encode a split's pictures and captions, each side alone, in blocks.

Captions are encoded in buckets of equal length, so that nothing is padding; pictures are read
and encoded block by block while somebody walks over them, so that features larger than the memory do.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from torch import nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.data.split import FeatureSource, Split
from crossgraph.models.base import Matcher
from crossgraph.models.fast.form import Precision
from crossgraph.progress import ProgressCallback
from crossgraph.scoring.workers import workers
from crossgraph.text.packing import Edges, collate
from crossgraph.text.vocabulary import Vocabulary

CAPTIONS_PER_BUCKET = 128
IMAGE_BLOCK_BYTES = 1 << 25  # features read in one go: 32 MB, 113 pictures of 36 × 2048
IMAGES_PER_BLOCK = 128


@dataclass(frozen=True)
class TextBucket:
    """Codes of captions of equal length.

    Attributes:
        captions: Their rows in the split.
        code: Their code, in that order.
    """

    captions: Int64[np.ndarray, " txt"]
    code: TextCode


class ImageBlocks:
    """Codes of a split's pictures by blocks of rows, read and encoded during iteration.

    Args:
        model: Encodes; on its own device.
        split: Whose pictures.
        precision: bfloat16 computes the matrix products in it.
    """

    def __init__(self, model: Matcher, split: Split, precision: Precision = "float32") -> None:
        self._model, self._split = model, split
        self._precision: Precision = precision

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._split.image_ids)

    def __iter__(self) -> Iterator[ImageCode]:
        """Encode block by block, in the split's order."""
        features = self._split.features
        step = images_per_block(features)
        device = device_of(self._model)
        for start in range(0, len(self), step):
            regions = features.read(np.arange(start, min(start + step, len(self))))
            bad = ~torch.isfinite(regions.features).flatten(1).all(dim=1)
            if bool(bad.any()):
                name = self._split.image_ids[start + int(bad.nonzero()[0])]
                where = self._split.source or "features"
                raise InputError(f"{where}: image '{name}' holds NaN or infinite features", "make these features again")
            with inference(self._model, self._precision):
                code = self._model.encode_images(regions.to(device))
            yield code


@runtime_checkable
class CodeBlocks(Protocol):
    """Blocks of picture codes that can be iterated several times."""

    def __len__(self) -> int:
        """Return the number of pictures."""
        ...

    def __iter__(self) -> Iterator[ImageCode]:
        """Yield the blocks in the pictures' order."""
        ...


class InMemory:
    """Blocks of picture codes in memory.

    Args:
        blocks: Without a group axis, in the pictures' order.
    """

    def __init__(self, blocks: Sequence[ImageCode]) -> None:
        self._blocks = blocks

    def __len__(self) -> int:
        """Return the number of pictures."""
        return sum(map(len, self._blocks))

    def __iter__(self) -> Iterator[ImageCode]:
        """Yield the blocks."""
        return iter(self._blocks)


@dataclass(frozen=True)
class SplitCodes:
    """Both sides of a split, encoded alone.

    Attributes:
        images: Codes of the pictures, block by block.
        texts: Codes of the captions; together they hold every caption once.
    """

    images: CodeBlocks
    texts: Sequence[TextBucket]


def encode_split(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    precision: Precision = "float32",
    report: ProgressCallback | None = None,
) -> SplitCodes:
    """Encode a split's captions now, and its pictures during iteration.

    Args:
        model: Encodes, in evaluation mode whatever its mode is; on its own device.
        vocabulary: The model's.
        split: Pictures and captions; `crossgraph.scoring.compatibility.check_fits` tells whether they fit the model.
        precision: bfloat16 computes the matrix products in it.
        report: Called with progress.
    """
    texts = encode_captions(model, vocabulary, split.captions, precision, report, split.edges)
    return SplitCodes(ImageBlocks(model, split, precision), texts)


def encode_captions(
    model: Matcher,
    vocabulary: Vocabulary,
    captions: Sequence[str],
    precision: Precision = "float32",
    report: ProgressCallback | None = None,
    edges: Edges | None = None,
) -> list[TextBucket]:
    """Encode captions in buckets of equal length.

    Args:
        model: Encodes, in evaluation mode.
        vocabulary: The model's.
        captions: Sentences.
        precision: bfloat16 computes the matrix products in it.
        report: Called with progress.
        edges: Dependency edges of each caption, where they are known.
    """
    encoded = [vocabulary.encode(caption) for caption in captions]
    device = device_of(model)
    plan = plan_buckets([len(caption.ids) for caption in encoded])
    codes: dict[int, TextCode] = {}
    done = 0

    def encode(number: int) -> int:
        rows = plan[number]
        some = None if edges is None else [edges[int(row)] for row in rows]
        tokens = collate([encoded[int(row)] for row in rows], some)
        with compute_in(device, precision):
            codes[number] = model.encode_texts(tokens.to(device))
        return len(rows)

    def tick(more: int) -> None:
        nonlocal done
        done += more
        if report is not None:
            report("captions", done, len(captions))

    # a bucket a core: what a recurrent network does at one word is too little to be shared by them
    with inference(model, precision), workers(device, len(plan)) as crew:
        crew.run((functools.partial(encode, number) for number in range(len(plan))), tick)
    return [TextBucket(rows, codes[number]) for number, rows in enumerate(plan)]


def plan_buckets(lengths: Sequence[int], most: int = CAPTIONS_PER_BUCKET) -> list[Int64[np.ndarray, " txt"]]:
    """Group rows by length.

    Args:
        lengths: Tokens of each caption.
        most: Captions of a bucket.

    Returns:
        Rows, each exactly once; all of a bucket are of one length, so that nothing is padding.
    """
    values = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order])) + 1
    return [run[start : start + most] for run in np.split(order, ends) for start in range(0, len(run), most)]


def images_per_block(features: FeatureSource) -> int:
    """Return how many pictures are read and encoded at once."""
    _, regions, width = features.shape
    return max(1, min(IMAGES_PER_BLOCK, IMAGE_BLOCK_BYTES // max(1, 4 * regions * width)))


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


@contextlib.contextmanager
def inference(model: nn.Module, precision: Precision = "float32") -> Generator[None]:
    """Run a block without gradients and in evaluation mode; restores every layer's mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with compute_in(device_of(model), precision):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def compute_in(device: torch.device, precision: Precision) -> Generator[None]:
    """Run a block without gradients in a precision, in the calling thread only."""
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, precision == "bfloat16"):
        yield
