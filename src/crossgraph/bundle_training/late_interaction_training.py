"""Trains a late-interaction retriever on frozen codes: it learns the re-ranker's scores of whole galleries of train.

The re-ranker scores a few galleries (pictures with one caption each) block by block in its fast form; every step then
takes a small block of one gallery. So each score serves several steps, and no step waits for the re-ranker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crossgraph.bundle.late_interaction import LateInteractionRetriever, retriever_for
from crossgraph.bundle_training.distillation import CosineAdamW
from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, Count, NotNegative, Positive, Range, Size
from crossgraph.core.types import ImageCode
from crossgraph.data.split import Split
from crossgraph.data.subset import select_pairs
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run
from crossgraph.scoring.encode import ImageBlocks, TextBucket, device_of, encode_captions
from crossgraph.scoring.engine import ScoringOptions, score_split
from crossgraph.scoring.tuning import choose_precision

_AtLeastTwo = Annotated[int, Range(least=2)]
_BUCKET_CAPTIONS = 32  # captions of one length in a step, at most
_EDGE = 1e-6  # probabilities are clamped so far from 0 and 1 before their logits are taken


@dataclass(frozen=True)
class LateInteractionRecipe(CheckedSettings):
    """How the late-interaction retriever is trained.

    Attributes:
        size: Numbers of a word's and a region's vectors.
        galleries: How many galleries the re-ranker scores.
        pictures: Of a gallery, at most; as many captions.
        steps: Of training.
        batch: Pictures, and captions, of a step.
        lr: Peak learning rate (AdamW, cosine).
        weight_decay: Of AdamW.
        temperature: Of the distributions that are compared, in standard deviations of the re-ranker's logits.
        closeness: Weight of the squared difference beside them.
        seed: Of weights and order.
    """

    size: _AtLeastTwo = 64
    galleries: Size = 12
    pictures: _AtLeastTwo = 1000
    steps: Size = 3000
    batch: _AtLeastTwo = 96
    lr: Positive = 3e-3
    weight_decay: NotNegative = 1e-2
    temperature: Positive = 0.5
    closeness: NotNegative = 0.1
    seed: Count = 0


@dataclass(frozen=True)
class Gallery:
    """Codes of some pictures and captions of train with the re-ranker's scores.

    Attributes:
        images: The pictures' codes, in half precision.
        texts: The captions' codes likewise, in buckets of equal length.
        scores: Targets, images × captions.
    """

    images: ImageCode
    texts: list[TextBucket]
    scores: Float[Tensor, "img txt"]


def train_late_interaction(
    run: Run, train: Split, recipe: LateInteractionRecipe, progress: ProgressCallback
) -> tuple[LateInteractionRetriever, dict[str, float | None]]:
    """Train a late-interaction retriever.

    Args:
        run: The re-ranker; it does not change.
        train: The split to learn from.
        recipe: Training settings.
        progress: Called with the numbers of pairs scored and of steps done.

    Returns:
        The retriever on the CPU in evaluation mode, and the correlation of its scores with the re-ranker's in the last
        100 steps' blocks, each taken before its step; None where all scores are equal.

    Raises:
        InputError: Fewer than two pictures have captions, or the loss is not finite.
    """
    torch.manual_seed(recipe.seed)  # pyright: ignore[reportUnknownMemberType]
    random = np.random.default_rng(recipe.seed)
    galleries = standardise(_score_galleries(run, train, recipe, random, progress))
    device = device_of(run.model)
    retriever = retriever_for(galleries[0].images, recipe.size).to(device)
    optimiser = CosineAdamW(retriever, recipe.lr, recipe.weight_decay, recipe.steps)
    correlations: list[float] = []
    for step in range(recipe.steps):
        given, wanted = _block(retriever, galleries[random.integers(len(galleries))], recipe.batch, random, device)
        # Named as on the command line, where the option is --sieve.
        optimiser.step(distillation_loss(given, wanted, recipe), "sieve", "give another --seed")
        if step >= recipe.steps - 100:
            pair = torch.stack([given.detach().flatten(), wanted.flatten()])
            correlations.append(float(torch.corrcoef(pair)[0, 1]))
        progress("steps", step + 1, recipe.steps)
    correlation = float(np.mean(correlations))
    figures = {"correlation": correlation if math.isfinite(correlation) else None, "steps": recipe.steps}
    return retriever.cpu().eval(), figures


def distillation_loss(
    given: Float[Tensor, "img txt"], wanted: Float[Tensor, "img txt"], recipe: LateInteractionRecipe
) -> Tensor:
    """Return the divergence of the retriever's rows and columns from the re-ranker's, plus a squared difference."""
    loss = recipe.closeness * F.mse_loss(given, wanted)
    for axis in (0, 1):
        ours, theirs = ((block / recipe.temperature).log_softmax(axis) for block in (given, wanted))
        loss = loss + F.kl_div(ours, theirs, reduction="sum", log_target=True) / (2 * given.shape[1 - axis])
    return loss


def standardise(galleries: list[Gallery]) -> list[Gallery]:
    """Return galleries whose scores have mean 0 and deviation 1 over all; of probabilities, their logits."""
    scores = torch.cat([gallery.scores.flatten() for gallery in galleries])
    probabilities = bool(((scores >= 0) & (scores <= 1)).all())

    def transform(scores: Tensor) -> Tensor:
        return torch.logit(scores, _EDGE) if probabilities else scores

    scores = transform(scores)
    mean, deviation = float(scores.mean()), max(float(scores.std(correction=0)), 1e-12)
    return [replace(gallery, scores=(transform(gallery.scores) - mean) / deviation) for gallery in galleries]


def _score_galleries(
    run: Run, train: Split, recipe: LateInteractionRecipe, random: np.random.Generator, progress: ProgressCallback
) -> list[Gallery]:
    """Return galleries of train, each with one caption of each of its pictures, scored by the re-ranker."""
    described = random.permutation(np.unique(train.caption_image))
    if len(described) < 2:
        raise InputError(
            f"{train.source}: train has {len(described)} pictures with captions", "a sieve needs two or more"
        )
    count = min(recipe.pictures, len(described))
    total = max(1, min(recipe.galleries, len(train.captions) // count))
    galleries: list[Gallery] = []
    for number in range(total):
        images = np.take(described, np.arange(number * count, (number + 1) * count), mode="wrap")
        split = select_pairs(train, images, _draw_captions(train, images, random))
        precision, size = choose_precision(run.model, run.vocabulary, split, "auto")

        def pairs_done(task: str, done: int, pairs: int, before: int = number) -> None:
            if task == "pairs":
                progress(task, before * pairs + done, total * pairs)

        scores = score_split(
            run.model, run.vocabulary, split, ScoringOptions(precision=precision, size=size, progress=pairs_done)
        )
        texts = encode_captions(run.model, run.vocabulary, split.captions, edges=split.edges)
        buckets = [TextBucket(bucket.captions, bucket.code.map(_to_half)) for bucket in texts]
        codes = _concatenate(list(ImageBlocks(run.model, split))).map(_to_half)
        galleries.append(Gallery(codes, buckets, torch.from_numpy(np.array(scores))))  # pyright: ignore[reportUnknownMemberType]
    return galleries


def _draw_captions(split: Split, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the row of a random caption of each picture."""
    order = random.permutation(len(split.captions))
    drawn = np.full(len(split.image_ids), -1)
    drawn[split.caption_image[order]] = order  # of a picture's captions, the one written last stays
    return drawn[images]


def _block(
    retriever: LateInteractionRetriever, gallery: Gallery, batch: int, random: np.random.Generator, device: torch.device
) -> tuple[Float[Tensor, "img txt"], Float[Tensor, "img txt"]]:
    """Return the retriever's scores of a random block of a gallery, and the targets.

    Captions are drawn a bucket after the other, in random order, until there are `batch`: those of a bucket are
    scored in one call, without padding.
    """
    rows = torch.from_numpy(random.permutation(len(gallery.images))[:batch])  # pyright: ignore[reportUnknownMemberType]
    codes = gallery.images.select(rows).map(_to_float).to(device)
    pictures = retriever.prepare_images(codes).map(lambda t: t[None])  # (1, img, …): one group
    given: list[Tensor] = []
    columns: list[np.ndarray] = []
    left = batch
    for number in random.permutation(len(gallery.texts)).tolist():
        bucket = gallery.texts[number]
        drawn = random.permutation(len(bucket.captions))[: min(left, _BUCKET_CAPTIONS)]
        texts = bucket.code.select(torch.from_numpy(drawn)).map(_to_float).to(device)  # pyright: ignore[reportUnknownMemberType]
        given.append(retriever.score(pictures, retriever.prepare_texts(texts).map(lambda t: t[None]))[0])
        columns.append(bucket.captions[drawn])
        left -= len(drawn)
        if not left:
            break
    wanted = gallery.scores[rows][:, torch.from_numpy(np.concatenate(columns))]  # pyright: ignore[reportUnknownMemberType]
    return torch.cat(given, dim=1), wanted.to(device)


def _concatenate(codes: list[ImageCode]) -> ImageCode:
    """Concatenate blocks of pictures; of their parts only the global vectors are read."""
    first = codes[0]
    parts = {name: torch.cat([code.parts[name] for code in codes]) for name in first.parts if name == "global"}
    return ImageCode(torch.cat([code.local for code in codes]), torch.cat([code.mask for code in codes]), None, parts)


def _to_half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _to_float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
