"""The forward pass of a training step, from regions and words to the terms of the loss; Fabric wraps it for DDP."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Int
from torch import Tensor, nn

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import Hinge, InfoNCE
from crossgraph.models.base import Batch, Matcher, Objective, Progress
from crossgraph.models.training_blocks import sparse_gradient
from crossgraph.train.config import LossChoice, Regularisation
from crossgraph.train.distributed import Ranking, gather_images, gather_rows


def make_objective(choice: LossChoice, steps_per_epoch: int) -> Objective:
    """Return a recipe's ranking loss; the warm-up ends when both its epochs and its steps have passed."""
    if choice.name == "infonce":
        return InfoNCE(choice.temperature)
    if choice.negatives == "warm-up":
        steps = max(choice.warm_up_steps, choice.warm_up_epochs * steps_per_epoch)
        return Hinge(choice.margin, "hardest", steps)
    return Hinge(choice.margin, choice.negatives)


class StepInput:
    """The argument of `TrainingStep`.

    Deliberately no dataclass: Fabric recurses into those to convert tensors, and refuses frozen ones.
    """

    def __init__(self, batch: Batch, progress: Progress) -> None:
        self.batch, self.progress = batch, progress


class TrainingStep(nn.Module):
    """Encodes both sides, gathers the pictures of all processes, scores, and returns the model's loss terms.

    Each process encodes its own pairs. Codes of pictures are gathered, those of captions are not: a process scores
    all pictures with its own captions (img, txt / W), and the ranking term gathers those columns. The sum of the terms
    is the whole batch's loss on every process; see `crossgraph.train.distributed` for the gradient's scale.

    Args:
        model: What is trained.
        objective: The ranking loss.
        mask_same_image: Whether captions of one picture do not count as negatives of each other.
        noise: Regularisation of the inputs.
        unknown: Vocabulary row of `<unk>`, for word dropout.
        specials: Vocabulary rows that word dropout leaves alone.
    """

    specials: Tensor

    def __init__(
        self,
        model: Matcher,
        objective: Objective,
        mask_same_image: bool = True,
        noise: Regularisation | None = None,
        unknown: int = 3,
        specials: tuple[int, ...] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.model, self.objective, self.mask_same_image = model, objective, mask_same_image
        self.noise, self.unknown = noise or Regularisation(), unknown
        self.register_buffer("specials", torch.tensor(specials), persistent=False)

    def forward(self, step: StepInput) -> dict[str, Tensor]:
        """Return the loss's terms by name, each a scalar; and "spread", the scores' standard deviation."""
        batch, progress = step.batch, step.progress
        regions, tokens = self._add_noise(batch.regions, batch.tokens)
        images = gather_images(self.model.encode_images(regions))
        texts = self.model.encode_texts(tokens)
        ranking = Ranking(self.objective, gather_rows(batch.image_ids), self.mask_same_image, progress)
        with sparse_gradient(_is_sparse(self.objective, progress)):
            terms = self.model.losses(images, texts, batch, ranking, progress)
        return {**terms, "spread": ranking.spread}

    def _add_noise(self, regions: Regions, tokens: Tokens) -> tuple[Regions, Tokens]:
        noise = self.noise
        if noise.feature_noise:
            x = regions.features
            regions = dataclasses.replace(regions, features=x + noise.feature_noise * x.std() * torch.randn_like(x))
        if noise.region_dropout:
            regions = dataclasses.replace(regions, mask=_drop_regions(regions.mask, noise.region_dropout))
        if noise.word_dropout:
            tokens = dataclasses.replace(tokens, ids=self._drop_words(tokens.ids))
        return regions, tokens

    def _drop_words(self, ids: Int[Tensor, "txt word"]) -> Int[Tensor, "txt word"]:
        dropped = (torch.rand(ids.shape, device=ids.device) < self.noise.word_dropout) & ~torch.isin(ids, self.specials)
        return ids.masked_fill(dropped, self.unknown)


def _is_sparse(objective: Objective, progress: Progress) -> bool:
    """Return whether the objective gives a gradient to three pairs a caption at most."""
    if not isinstance(objective, Hinge):
        return False
    return objective.negatives == "hardest" and progress.step >= objective.warmup_steps


def _drop_regions(mask: Tensor, probability: float) -> Tensor:
    """Return the mask without regions dropped at random; of each picture the one with the highest draw stays."""
    draw = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1.0)
    return mask & ((draw >= probability) | (draw == draw.amax(dim=1, keepdim=True)))
