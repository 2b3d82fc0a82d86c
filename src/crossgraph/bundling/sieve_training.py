"""Training of the sieve: it learns, on frozen codes, the re-ranker's scores of whole galleries of train.

The re-ranker scores a few galleries, pictures with a caption of each, block by block as fast as it can; every step then
takes a small block of one gallery. So each score serves several steps, and none waits for the re-ranker.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.bundle.sieve import Sieve, sieve_for
from crossgraph.bundling.head_training import Report
from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode
from crossgraph.data.split import Split
from crossgraph.runs import Run
from crossgraph.scoring.encode import ImageBlocks, TextBucket, device_of, encode_captions
from crossgraph.scoring.engine import score_split
from crossgraph.scoring.limit import part_of
from crossgraph.scoring.tuning import settle

_CAPTIONS_AT_ONCE = 32  # of one length, in a step
_EDGE = 1e-6  # of probabilities, before their logits are taken


@dataclass(frozen=True)
class SieveRecipe:
    """How the sieve is trained.

    Attributes:
        size: Numbers of a word's and a region's vectors.
        galleries: That the re-ranker scores.
        pictures: Of a gallery, at most; as many captions.
        steps: Of training.
        batch: Pictures, and captions, of a step.
        lr: Peak learning rate (AdamW, cosine).
        weight_decay: Of AdamW.
        temperature: Of the distributions that are compared, in standard deviations of the re-ranker's logits.
        closeness: Weight of the squared difference beside them.
        seed: Of weights and order.
    """

    size: int = 64
    galleries: int = 12
    pictures: int = 1000
    steps: int = 3000
    batch: int = 96
    lr: float = 3e-3
    weight_decay: float = 1e-2
    temperature: float = 0.5
    closeness: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what trains nothing.

        Raises:
            InputError: A value out of its range.
        """
        least = {"size": 2, "galleries": 1, "pictures": 2, "steps": 1, "batch": 2, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InputError(f"{name} is {getattr(self, name)}", f"give at least {bound}")


@dataclass(frozen=True)
class Gallery:
    """What the re-ranker said of some pictures and captions.

    Attributes:
        images: The pictures' codes, in half precision.
        texts: The captions' codes likewise, in buckets of equal length.
        scores: Targets, images × captions.
    """

    images: ImageCode
    texts: list[TextBucket]
    scores: Float[Tensor, "img txt"]


def train_sieve(run: Run, train: Split, recipe: SieveRecipe, report: Report) -> tuple[Sieve, dict[str, float | None]]:
    """Train a sieve.

    Args:
        run: The re-ranker; it stays as it is.
        train: Learned from.
        recipe: How.
        report: Hears how many pairs are scored and how many steps done.

    Returns:
        The sieve on the CPU in evaluation mode, and how well it ended: the correlation with the re-ranker's scores of
        the last steps' blocks, before these were learned from; None where all scores are alike.

    Raises:
        InputError: Fewer than two pictures have captions, or the loss is not finite.
    """
    torch.manual_seed(recipe.seed)  # pyright: ignore[reportUnknownMemberType]
    random = np.random.default_rng(recipe.seed)
    galleries = standardised(_galleries(run, train, recipe, random, report))
    device = device_of(run.model)
    sieve = sieve_for(galleries[0].images, recipe.size).to(device)
    optimiser = torch.optim.AdamW(sieve.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    correlations: list[float] = []
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 50)
            group["lr"] = recipe.lr * warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        given, wanted = _block(sieve, galleries[random.integers(len(galleries))], recipe.batch, random, device)
        loss = disagreement(given, wanted, recipe)
        if not bool(torch.isfinite(loss)):
            raise InputError("the sieve's loss is not finite", "give another --seed")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(sieve.parameters(), 2.0)
        optimiser.step()
        if step >= recipe.steps - 100:
            pair = torch.stack([given.detach().flatten(), wanted.flatten()])
            correlations.append(float(torch.corrcoef(pair)[0, 1]))
        report("steps", step + 1, recipe.steps)
    correlation = float(np.mean(correlations))
    ended = {"correlation": correlation if math.isfinite(correlation) else None, "steps": recipe.steps}
    return sieve.cpu().eval(), ended


def disagreement(given: Float[Tensor, "img txt"], wanted: Float[Tensor, "img txt"], recipe: SieveRecipe) -> Tensor:
    """Return how far the sieve's block is from the re-ranker's: whom each row and column prefers, and by how much."""
    loss = recipe.closeness * F.mse_loss(given, wanted)
    for axis in (0, 1):
        ours, theirs = ((block / recipe.temperature).log_softmax(axis) for block in (given, wanted))
        loss = loss + F.kl_div(ours, theirs, reduction="sum", log_target=True) / (2 * given.shape[1 - axis])
    return loss


def standardised(galleries: list[Gallery]) -> list[Gallery]:
    """Return the galleries with scores of mean 0 and deviation 1; the logits of those that are probabilities."""
    every = torch.cat([gallery.scores.flatten() for gallery in galleries])
    probabilities = bool(((every >= 0) & (every <= 1)).all())
    if probabilities:
        every = torch.logit(every, _EDGE)
    mean, deviation = float(every.mean()), max(float(every.std(correction=0)), 1e-12)
    return [
        replace(one, scores=((torch.logit(one.scores, _EDGE) if probabilities else one.scores) - mean) / deviation)
        for one in galleries
    ]


def _galleries(
    run: Run, train: Split, recipe: SieveRecipe, random: np.random.Generator, report: Report
) -> list[Gallery]:
    """Let the re-ranker score pictures of train, each gallery with one caption of each of its pictures."""
    described = random.permutation(np.unique(train.caption_image))
    if len(described) < 2:
        raise InputError(
            f"{train.source}: train has {len(described)} pictures with captions", "a sieve needs two or more"
        )
    count = min(recipe.pictures, len(described))
    galleries = max(1, min(recipe.galleries, len(train.captions) // count))
    found: list[Gallery] = []
    for number in range(galleries):
        images = np.take(described, np.arange(number * count, (number + 1) * count), mode="wrap")
        split = part_of(train, images, _one_of_each(train, images, random))
        precision, size = settle(run.model, run.vocabulary, split, "auto")

        def heard(what: str, done: int, total: int, before: int = number) -> None:
            if what == "pairs":
                report(what, before * total + done, galleries * total)

        scores = score_split(run.model, run.vocabulary, split, precision=precision, size=size, report=heard)
        texts = encode_captions(run.model, run.vocabulary, split.captions, edges=split.edges)
        images_code = _together(list(ImageBlocks(run.model, split)))
        buckets = [TextBucket(bucket.captions, bucket.code.map(_halved)) for bucket in texts]
        found.append(Gallery(images_code.map(_halved), buckets, torch.from_numpy(np.array(scores))))  # pyright: ignore[reportUnknownMemberType]
    return found


def _one_of_each(split: Split, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a caption of each picture, drawn."""
    order = random.permutation(len(split.captions))
    last = np.full(len(split.image_ids), -1)
    last[split.caption_image[order]] = order  # the one that is written last stays
    return last[images]


def _block(
    sieve: Sieve, gallery: Gallery, batch: int, random: np.random.Generator, device: torch.device
) -> tuple[Float[Tensor, "img txt"], Float[Tensor, "img txt"]]:
    """Return the sieve's scores of a small block of a gallery, and the targets."""
    rows = torch.from_numpy(random.permutation(len(gallery.images))[:batch])  # pyright: ignore[reportUnknownMemberType]
    pictures = sieve.prepare_images(gallery.images.select(rows).map(_widened).to(device)).map(lambda t: t[None])
    given: list[Tensor] = []
    columns: list[np.ndarray] = []
    left = batch
    for number in random.permutation(len(gallery.texts)).tolist():
        bucket = gallery.texts[number]
        some = random.permutation(len(bucket.captions))[: min(left, _CAPTIONS_AT_ONCE)]
        texts = bucket.code.select(torch.from_numpy(some)).map(_widened).to(device)  # pyright: ignore[reportUnknownMemberType]
        given.append(sieve.score(pictures, sieve.prepare_texts(texts).map(lambda t: t[None]))[0])
        columns.append(bucket.captions[some])
        left -= len(some)
        if not left:
            break
    wanted = gallery.scores[rows][:, torch.from_numpy(np.concatenate(columns))]  # pyright: ignore[reportUnknownMemberType]
    return torch.cat(given, dim=1), wanted.to(device)


def _together(codes: list[ImageCode]) -> ImageCode:
    """Put blocks of pictures together; of their parts only the global vectors are read."""
    first = codes[0]
    parts = {name: torch.cat([code.parts[name] for code in codes]) for name in first.parts if name == "global"}
    return ImageCode(torch.cat([code.local for code in codes]), torch.cat([code.mask for code in codes]), None, parts)


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
