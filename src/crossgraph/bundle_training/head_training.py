"""Trains the index head on frozen codes: InfoNCE over matched pairs, and distillation of the re-ranker's scores.

The second term teaches what the head is for: to retrieve what the re-ranker scores highest. For a few pictures and
captions of each batch the re-ranker's scores become a target distribution that the head's cosines must match.
"""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from crossgraph.bundle.head import IndexHead, head_for
from crossgraph.bundle_training.distillation import CosineAdamW
from crossgraph.core.ranges import CheckedSettings, Count, NotNegative, Positive, Range, Size
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.data.split import Split
from crossgraph.losses import InfoNCE
from crossgraph.models.base import Progress
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, encode_split, inference
from crossgraph.train.feed import Feed

LARGEST_INDEX_VECTOR = 65_536
"""Values of an index vector that stores take at most."""


@dataclass(frozen=True)
class HeadRecipe(CheckedSettings):
    """How the head is trained.

    Attributes:
        index_size: k of the index vectors.
        epochs: Passes over all captions of train.
        max_steps: At most so many steps in all; 0 is no limit.
        batch: Pairs of a batch.
        lr: Peak learning rate (AdamW, cosine).
        weight_decay: Of AdamW.
        temperature: Of both terms: cosines are divided by it.
        teacher: Pictures and captions of each batch that the re-ranker scores with each other; 0 leaves
            the distillation out.
        teacher_temperature: The re-ranker's scores are divided by it.
        seed: Of weights and order.
    """

    index_size: Annotated[int, Range(least=2, most=LARGEST_INDEX_VECTOR)] = 256
    epochs: Size = 4
    max_steps: Count = 3000
    batch: Annotated[int, Range(least=2)] = 128
    lr: Positive = 2e-3
    weight_decay: NotNegative = 1e-2
    temperature: Positive = 0.05
    teacher: Count = 32
    teacher_temperature: Positive = 0.05
    seed: Count = 0


def train_head(
    run: Run, train: Split, dev: Split, dev_scores: np.ndarray, recipe: HeadRecipe, progress: ProgressCallback
) -> tuple[IndexHead, dict[str, float]]:
    """Train a head, and keep the weights whose retrieval ranks the re-ranker's first pictures of dev highest.

    Args:
        run: The re-ranker; it does not change.
        train: The split to learn from.
        dev: The split that chooses the weights.
        dev_scores: The re-ranker's scores of dev, images × captions.
        recipe: Training settings.
        progress: Called with the number of steps done.

    Returns:
        The head on the CPU in evaluation mode, and the figures that chose it.

    Raises:
        InputError: The features do not fit the model, or the loss is not finite.
    """
    torch.manual_seed(recipe.seed)
    device = device_of(run.model)
    feed = Feed(train, run.vocabulary, recipe.batch, recipe.seed)
    steps = feed.batches_per_epoch * recipe.epochs
    steps = min(steps, recipe.max_steps) if recipe.max_steps else steps
    head: IndexHead | None = None
    optimiser: CosineAdamW | None = None
    best: tuple[float, IndexHead | None, int] = (math.inf, None, 0)
    step = 0
    for epoch in range(recipe.epochs):
        for pairs in itertools.islice(feed.batches(epoch), steps - step):
            batch = pairs.to(device)
            with inference(run.model):
                images, texts = run.model.encode_images(batch.regions), run.model.encode_texts(batch.tokens)
            if head is None or optimiser is None:  # the first codes tell the head's sizes
                head = head_for(images, recipe.index_size).to(device)
                optimiser = CosineAdamW(head, recipe.lr, recipe.weight_decay, steps)
            # Tensors of inference mode cannot take part in autograd: the head reads copies.
            loss = _loss(head, run, images.map(torch.clone), texts.map(torch.clone), batch.image_ids, recipe)
            optimiser.step(loss, "index head", "lower --lr")
            step += 1
            progress("steps", step, steps)
        if head is not None:
            rank = mean_log_rank(index_scores(head, run, dev), dev_scores)
            if rank < best[0]:
                best = (rank, copy.deepcopy(head), step)
        if step == steps:
            break
    chosen = best[1]
    assert chosen is not None
    return chosen.cpu().eval(), {"mean_place": best[0], "step": best[2], "steps": steps}


def index_scores(head: IndexHead, run: Run, split: Split) -> np.ndarray:
    """Return the cosines of a split's index vectors, images × captions."""
    head = head.to(device_of(run.model))
    codes = encode_split(run.model, run.vocabulary, split)
    with torch.inference_mode():
        texts = [head.index_texts(bucket.code).cpu().numpy() for bucket in codes.texts]
        images = [head.index_images(code).cpu().numpy() for code in codes.images]
    order = np.concatenate([bucket.captions for bucket in codes.texts])
    captions = np.empty((len(order), head.config.index_size), dtype=np.float32)
    captions[order] = np.concatenate(texts)
    return np.concatenate(images) @ captions.T


def mean_log_rank(retrieved: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean logarithm of the retriever's rank of each caption's first picture by the re-ranker.

    Args:
        retrieved: The retriever's scores, images × captions.
        scores: The re-ranker's.
    """
    first = scores.argmax(axis=0)
    wanted = retrieved[first, np.arange(scores.shape[1])]
    return float(np.log((retrieved >= wanted).sum(axis=0)).mean())


def _loss(head: IndexHead, run: Run, images: ImageCode, texts: TextCode, ids: Tensor, recipe: HeadRecipe) -> Tensor:
    image, text = head.index_images(images), head.index_texts(texts)
    cosines = image @ text.T
    loss = InfoNCE(recipe.temperature)(cosines, ids[:, None] == ids[None, :], Progress())
    few = min(recipe.teacher, len(ids))
    if few < 2:
        return loss
    with inference(run.model):
        scores = run.model.score_block(images.select(slice(0, few)), texts.select(slice(0, few))).float()
    target, given = scores.clone() / recipe.teacher_temperature, cosines[:few, :few] / recipe.temperature
    to_captions, to_images = (
        torch.nn.functional.kl_div(given.log_softmax(axis), target.log_softmax(axis), reduction="sum", log_target=True)
        for axis in (1, 0)
    )
    return loss + (to_images + to_captions) / (2 * few)
