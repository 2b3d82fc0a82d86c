"""Objectives on a square score matrix whose diagonal holds the matched pairs.

Rows are pictures, columns captions. An objective owns no optimiser and counts no steps; a schedule of its
own (the warm-up) is a function of the `Progress` it is handed.
`same_image` marks pairs that share a picture: off the diagonal they are neither matches nor negatives.
Pass the identity to treat them as negatives, as published code does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.models.base import PrescribedCrossEntropy, PrescribedHinge, Progress

Negatives = Literal["hardest", "sum"]
_CERTAIN = 1e-6  # a probability nearer to 0 or 1 counts as this near


def hinge(
    scores: Float[Tensor, "pair pair"], same_image: Bool[Tensor, "pair pair"], margin: float, negatives: Negatives
) -> Float[Tensor, ""]:
    """Bidirectional hinge loss, summed over the batch (VSE++ Eq. 5-6).

    cost_s = max(0, α + S_ij − S_ii), captions as negatives; cost_im = max(0, α + S_ij − S_jj), images.

    Args:
        scores: S.
        same_image: True where a pair is no negative; the diagonal is always excluded.
        margin: α, in units of the score.
        negatives: "sum" of all, or the "hardest" of each row and column.

    Returns:
        The sum (not the mean): published learning rates count on it.
    """
    matched = scores.diagonal()
    excluded = same_image | torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    cost_captions = (margin + scores - matched[:, None]).clamp(min=0).masked_fill(excluded, 0)
    cost_images = (margin + scores - matched[None, :]).clamp(min=0).masked_fill(excluded, 0)
    if negatives == "hardest":
        return cost_captions.amax(dim=1).sum() + cost_images.amax(dim=0).sum()
    return cost_captions.sum() + cost_images.sum()


def cross_entropy_of_pairs(
    scores: Float[Tensor, "pair pair"],
    same_image: Bool[Tensor, "pair pair"],
    negatives: Literal["hardest", "all"],
) -> Float[Tensor, ""]:
    """Binary cross-entropy of matched against unmatched pairs (CAMP Eq. 11).

    Args:
        scores: S in 0..1; clamped to 1e-6 from both ends, beyond which nothing has a gradient.
        same_image: True where a pair is no negative; the diagonal is always excluded.
        negatives: "hardest": −Σ_i (2 log S_ii + min_j log(1 − S_ij) + min_j log(1 − S_ji)), a sum over the batch.
            "all": the mean of −log S_ii, and of −log(1 − S_ij) over all entries, where excluded ones add nothing.
    """
    scores = scores.clamp(_CERTAIN, 1 - _CERTAIN)
    matched = scores.diagonal().log()
    excluded = same_image | torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    unmatched = (1 - scores).log().masked_fill(excluded, 0)
    if negatives == "hardest":
        return -(2 * matched.sum() + unmatched.amin(dim=1).sum() + unmatched.amin(dim=0).sum())
    return -(matched.mean() + unmatched.mean())


def prescribed_loss(
    prescribed: PrescribedHinge | PrescribedCrossEntropy,
    scores: Float[Tensor, "pair pair"],
    same_image: Bool[Tensor, "pair pair"],
) -> Float[Tensor, ""]:
    """Return what a method prescribes for its scores, whatever the recipe's objective is."""
    if isinstance(prescribed, PrescribedCrossEntropy):
        return cross_entropy_of_pairs(scores, same_image, prescribed.negatives)
    return hinge(scores, same_image, prescribed.margin, prescribed.negatives)


@dataclass(frozen=True)
class Hinge:
    """Hinge by hardest negative or by the sum of all; optionally the sum first, as a warm-up.

    Under hardest negatives from the first step the loss of a young model freezes at 2 · batch · margin;
    the sum of negatives moves it off that plateau.

    Attributes:
        margin: α.
        negatives: After the warm-up.
        warmup_steps: Optimiser steps by the sum of negatives before `negatives` takes over.
    """

    margin: float = 0.2
    negatives: Negatives = "hardest"
    warmup_steps: int = 0

    def __call__(
        self, scores: Float[Tensor, "pair pair"], same_image: Bool[Tensor, "pair pair"], progress: Progress
    ) -> Float[Tensor, ""]:
        """Return the loss at this point of training."""
        negatives: Negatives = "sum" if progress.step < self.warmup_steps else self.negatives
        return hinge(scores, same_image, self.margin, negatives)


@dataclass(frozen=True)
class InfoNCE:
    """Cross-entropy of the matched pair among its row and its column: mean over the pairs and both directions.

    Attributes:
        temperature: Scores are divided by it; sigmoid scores span 0..1, so it must be well below 1.
    """

    temperature: float = 0.05

    def __call__(
        self, scores: Float[Tensor, "pair pair"], same_image: Bool[Tensor, "pair pair"], progress: Progress
    ) -> Float[Tensor, ""]:
        """Return the loss; other captions of the same picture leave the denominators."""
        diagonal = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        logits = (scores / self.temperature).masked_fill(same_image & ~diagonal, torch.finfo(scores.dtype).min)
        to_captions, to_images = logits.log_softmax(dim=1).diagonal(), logits.log_softmax(dim=0).diagonal()
        return -(to_captions.mean() + to_images.mean()) / 2
