"""Training of the index head on frozen codes: matched pairs by InfoNCE, and the re-ranker's own opinion.

The second term teaches what the head is for: to bring up what the re-ranker would like. For a few pictures and
captions of each batch the re-ranker's scores become a target distribution that the head's cosines must match.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossgraph.bundle.head import IndexHead, head_for
from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.data.split import Split
from crossgraph.losses import InfoNCE
from crossgraph.models.base import Progress
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, encode_split, inference
from crossgraph.train.config import ModelChoice, Recipe
from crossgraph.train.feed import Feed

Report = Callable[[str, int, int], None]
MOST_NUMBERS = 65_536
"""Of an index vector: no store takes a longer one."""


@dataclass(frozen=True)
class HeadRecipe:
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
            its opinion out.
        teacher_temperature: The re-ranker's scores are divided by it.
        seed: Of weights and order.
    """

    index_size: int = 256
    epochs: int = 4
    max_steps: int = 3000
    batch: int = 128
    lr: float = 2e-3
    weight_decay: float = 1e-2
    temperature: float = 0.05
    teacher: int = 32
    teacher_temperature: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what trains nothing.

        Raises:
            InputError: A value out of its range.
        """
        least = {"index_size": 2, "epochs": 1, "max_steps": 0, "batch": 2, "teacher": 0, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InputError(f"{name} is {getattr(self, name)}", f"give at least {bound}")
        if self.index_size > MOST_NUMBERS:
            raise InputError(f"index_size is {self.index_size:,}", f"give at most {MOST_NUMBERS:,}")
        for name in ("lr", "temperature", "teacher_temperature"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}", "give a number above 0")


def train_head(
    run: Run, train: Split, dev: Split, dev_scores: np.ndarray, recipe: HeadRecipe, report: Report
) -> tuple[IndexHead, dict[str, float]]:
    """Train a head, and keep the weights that rank the re-ranker's favourites of dev highest.

    Args:
        run: The re-ranker; it stays as it is.
        train: Learned from.
        dev: Chosen by.
        dev_scores: The re-ranker's scores of dev, images × captions.
        recipe: How.
        report: Hears how many steps are done.

    Returns:
        The head on the CPU in evaluation mode, and what chose it.

    Raises:
        InputError: The features do not fit the model, or the loss is not finite.
    """
    torch.manual_seed(recipe.seed)
    device = device_of(run.model)
    feed = Feed(train, run.vocabulary, Recipe(ModelChoice("head"), batch=recipe.batch, seed=recipe.seed))
    steps = feed.batches_per_epoch * recipe.epochs
    steps = min(steps, recipe.max_steps) if recipe.max_steps else steps
    head: IndexHead | None = None
    optimiser: torch.optim.Optimizer | None = None
    best: tuple[float, IndexHead | None, int] = (math.inf, None, 0)
    step = 0
    for epoch in range(recipe.epochs):
        for pairs in feed.batches(epoch):
            if step == steps:
                break
            batch = pairs.to(device)
            with inference(run.model):
                images, texts = run.model.encode_images(batch.regions), run.model.encode_texts(batch.tokens)
            if head is None or optimiser is None:
                head = head_for(images, recipe.index_size).to(device)
                optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
            loss = _loss(head, run, images.map(torch.clone), texts.map(torch.clone), batch.image_ids, recipe)
            if not bool(torch.isfinite(loss)):
                raise InputError("the index head's loss is not finite", "lower --lr")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 2.0)
            optimiser.step()
            step += 1
            report("steps", step, steps)
        if head is not None:
            needed = mean_place(head_scores(head, run, dev), dev_scores)
            if needed < best[0]:
                best = (needed, copy.deepcopy(head), step)
    chosen = best[1]
    assert chosen is not None
    return chosen.cpu().eval(), {"mean_place": best[0], "step": best[2], "steps": steps}


def head_scores(head: IndexHead, run: Run, split: Split) -> np.ndarray:
    """Return the cosines of a split's index vectors, images × captions."""
    device = device_of(run.model)
    head = head.to(device)
    codes = encode_split(run.model, run.vocabulary, split)
    texts: list[np.ndarray] = []
    images: list[np.ndarray] = []
    with torch.inference_mode():
        texts = [head.index_texts(bucket.code).cpu().numpy() for bucket in codes.texts]
        images = [head.index_images(code).cpu().numpy() for code in codes.images]
    order = np.concatenate([bucket.captions for bucket in codes.texts])
    captions = np.empty((len(order), head.config.index_size), dtype=np.float32)
    captions[order] = np.concatenate(texts)
    return np.concatenate(images) @ captions.T


def mean_place(nearness: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean logarithm of how deep the re-ranker's favourite lies: what a short list has to hold."""
    favourite = scores.argmax(axis=0)
    wanted = nearness[favourite, np.arange(scores.shape[1])]
    return float(np.log((nearness >= wanted).sum(axis=0)).mean())


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
    taught = [
        torch.nn.functional.kl_div(given.log_softmax(axis), target.log_softmax(axis), reduction="sum", log_target=True)
        for axis in (0, 1)
    ]
    return loss + (taught[0] + taught[1]) / (2 * few)
