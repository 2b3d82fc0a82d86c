"""Every picture of a split with every caption, in blocks that fit the memory.

The pair tensors of an interaction model are far larger than its codes (a picture × b captions × words
× width), so a block's size follows from a budget of bytes, not from a number of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float32

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.data.split import Split
from crossgraph.models.base import Matcher, Scorer
from crossgraph.scoring.encode import Precision, Report, SplitCodes, TextBucket, encode_split, inference
from crossgraph.scoring.fit import check_fits
from crossgraph.text.vocabulary import Vocabulary

PAIR_BYTES = (
    1 << 24
)  # what one block's pair tensors may take together: 16 MB, so that they stay in cache (8 times faster)
ACCELERATOR_PAIR_BYTES = 1 << 31  # the same on an accelerator: 2 GB
PAIR_TENSORS = 4  # of the size words × width that live at the same time, roughly


def score_split(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    *,
    precision: Precision = "float32",
    report: Report | None = None,
    name: str = "the model",
) -> Float32[np.ndarray, "img txt"]:
    """Score every picture of a split with every caption.

    Args:
        model: On the device to use; its modes are left as they are.
        vocabulary: The model's.
        split: Pictures and captions.
        precision: bfloat16 computes the matrix products in it; scores are float32 either way.
        report: Hears how far it is.
        name: What the model is called in messages.

    Raises:
        InputError: The split does not fit the model, or its features hold NaN.
    """
    shape = (len(split.image_ids), len(split.captions))
    return gather(split_rows(model, vocabulary, split, precision=precision, report=report, name=name), shape)


def split_rows(
    model: Matcher,
    vocabulary: Vocabulary,
    split: Split,
    *,
    precision: Precision = "float32",
    report: Report | None = None,
    name: str = "the model",
) -> Iterator[Float32[np.ndarray, "img txt"]]:
    """Score a split as `score_split` does, giving whole rows as they get ready."""
    check_fits(model.inputs, vocabulary, split, name)
    codes = encode_split(model, vocabulary, split, precision, report)
    yield from score_rows(model, codes, precision=precision, report=report)


def score_matrix(
    model: Matcher, codes: SplitCodes, *, precision: Precision = "float32", report: Report | None = None
) -> Float32[np.ndarray, "img txt"]:
    """Score codes with each other.

    Returns:
        Scores, images × captions, in the split's order.
    """
    captions = sum(len(bucket.captions) for bucket in codes.texts)
    return gather(score_rows(model, codes, precision=precision, report=report), (len(codes.images), captions))


def gather(rows: Iterator[Float32[np.ndarray, "img txt"]], shape: tuple[int, int]) -> Float32[np.ndarray, "img txt"]:
    """Return blocks of rows as one matrix of the given shape."""
    scores = np.empty(shape, dtype=np.float32)
    start = 0
    for block in rows:
        scores[start : start + len(block)] = block
        start += len(block)
    return scores


def score_rows(
    model: Matcher, codes: SplitCodes, *, precision: Precision = "float32", report: Report | None = None
) -> Iterator[Float32[np.ndarray, "img txt"]]:
    """Score codes with each other, giving whole rows as they get ready: all captions of some pictures.

    Args:
        model: Scores, by its folded form where it has one.
        codes: Both sides.
        precision: bfloat16 computes the matrix products in it.
        report: Hears how many pairs are done.
    """
    captions = sum(len(bucket.captions) for bucket in codes.texts)
    total, done = len(codes.images) * captions, 0

    def tick(pairs: int) -> None:
        nonlocal done
        done += pairs
        if report is not None:
            report("pairs", done, total)

    with inference(model, precision):
        scorer = model.fold()
    for images in codes.images:
        rows = np.empty((len(images), captions), dtype=np.float32)
        for bucket in codes.texts:
            with inference(model, precision):
                rows[:, bucket.captions] = score_bucket(scorer, images, bucket, tick)
        yield rows


def score_bucket(
    scorer: Scorer, images: ImageCode, bucket: TextBucket, tick: Callable[[int], None]
) -> Float32[np.ndarray, "img txt"]:
    """Score a block of pictures with a bucket, cut so that the pair tensors keep to the budget.

    Args:
        scorer: A model or its folded form.
        images: Codes of some pictures.
        bucket: Codes of some captions.
        tick: Hears how many more pairs are done.
    """
    captions = len(bucket.captions)
    scores = np.empty((len(images), captions), dtype=np.float32)
    budget = PAIR_BYTES if images.local.device.type == "cpu" else ACCELERATOR_PAIR_BYTES
    step_images, step_captions = block_size(images, bucket.code, budget)
    for first in range(0, captions, step_captions):
        texts = slice(first, min(first + step_captions, captions))
        text_code = bucket.code.select(texts).map(lambda tensor: tensor[None])
        for start in range(0, len(images), step_images):
            some = slice(start, min(start + step_images, len(images)))
            block = scorer.score(images.select(some).map(lambda tensor: tensor[None]), text_code)[0]
            scores[some, texts] = block.float().cpu().numpy()
            tick(block.numel())
    return scores


def block_size(images: ImageCode, texts: TextCode, budget: int) -> tuple[int, int]:
    """Return how many pictures and captions meet in one call.

    A pair takes about (L + 1) × max(d, R) floats in each of a few tensors.

    Args:
        images: Codes, local (a, R, d).
        texts: Codes, local (b, L, d).
        budget: Bytes that all pair tensors may take together.

    Returns:
        Pictures and captions, at least one each.
    """
    regions, width = images.local.shape[-2:]
    pair = 4 * PAIR_TENSORS * (texts.local.shape[-2] + 1) * max(regions, width)
    pairs = max(1, budget // pair)
    captions = min(len(texts), pairs)
    return max(1, min(len(images), pairs // captions)), captions


def choose_device(name: str = "auto") -> torch.device:
    """Return the device to score on: the accelerator where there is one, unless told otherwise.

    Raises:
        InputError: "cuda" where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no such device", "leave --device out, or give cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
