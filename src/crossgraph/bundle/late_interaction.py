"""Late-interaction retriever: approximates the re-ranker's score at a few hundredths of its cost.

With one index vector a side, short lists must be long to contain what an interaction model ranks first. This retriever
keeps a vector for each word and each region and compares them late, as the re-ranker does:

    score(image, text) = Σ_j Σ_i softmax_i(a_j · k_i) (q_j · v_i) + x · y + b_image + b_text

with words j and regions i, all vectors of some 64 numbers projected from the re-ranker's own codes; x, y and the two
biases come from its global vectors (or the mean of its local ones). It learns the logits of the re-ranker's scores.
Late interaction (ColBERT) and distillation are known; using them between an index and a re-ranker of words and regions
is ours, not any paper's. The option is `bundle --sieve`, the file `sieve.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import l2norm, masked_mean

Code = TypeVar("Code", ImageCode, TextCode)
_VALUES, _OVERALL = "values", "overall"  # parts of a projected code
_LARGEST_SHARPNESS = 50.0  # exp(50), summed over a hundred regions, stays far below float32's maximum


@dataclass(frozen=True)
class LateInteractionConfig:
    """Sizes of the retriever.

    Attributes:
        embed_size: d of the codes it reads.
        global_size: Size of their global vector; 0 where they have none and the mean of the local vectors is used.
        size: k, the size of a word's and a region's vectors.
        overall_size: Size of the one vector a side.
    """

    embed_size: int
    global_size: int
    size: int = 64
    overall_size: int = 128


class Side(nn.Module):
    """Projections of one side's codes.

    Args:
        config: Sizes.
    """

    def __init__(self, config: LateInteractionConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.embed_size)
        self.keys = nn.Linear(config.embed_size, config.size)
        self.values = nn.Linear(config.embed_size, config.size)
        width, k = config.global_size or config.embed_size, config.overall_size
        self.overall = nn.Sequential(nn.Linear(width, 2 * k), nn.ReLU(), nn.Linear(2 * k, k + 1))

    def forward(self, code: Code) -> Code:
        """Return a projected code: unit keys as `local`, values and the overall vector (its bias last) as parts."""
        local = self.norm(code.local)
        overall = _global(code)
        read = masked_mean(code.local, code.mask) if overall is None else overall
        parts = {_VALUES: self.values(local) * code.mask[..., None], _OVERALL: self.overall(read)}
        return type(code)(l2norm(self.keys(local)), code.mask, parts=parts)


class LateInteractionRetriever(nn.Module):
    """Scores codes as a `Scorer` does; only the order of its scores means anything.

    Args:
        config: Sizes.
    """

    def __init__(self, config: LateInteractionConfig) -> None:
        super().__init__()
        self.config = config
        self.images, self.texts = Side(config), Side(config)
        self.sharpness = nn.Parameter(torch.tensor(10.0))  # of the softmax, whose keys are unit vectors

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the projected code; projected codes are returned unchanged."""
        return code if _VALUES in code.parts else self.images(code)

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the projected code, scaled by caption length and sharpness; projected codes are returned unchanged."""
        if _VALUES in code.parts:
            return code
        projected = self.texts(code)
        words = code.mask.sum(dim=-1)[..., None, None].clamp(min=1)
        values = projected.parts[_VALUES] * (self.config.size * words).rsqrt()
        sharpness = self.sharpness.clamp(max=_LARGEST_SHARPNESS)
        return TextCode(projected.local * sharpness, projected.mask, parts={**projected.parts, _VALUES: values})

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every picture of a group with every caption of it; see `Matcher.score`.

        Args:
            images: `local` (g, a, R, d), projected or not.
            texts: `local` (g, b, L, d), projected or not.
        """
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        # The region axis comes first, so that sums over regions add contiguous rows.
        near = _products(images.local, texts.local).exp_()  # of unit keys: it cannot overflow
        if not bool(images.mask.all()):
            near = near * images.mask.transpose(1, 2)[..., None, None]
        values = _products(images.parts[_VALUES], texts.parts[_VALUES])
        weighted = values * near if torch.is_grad_enabled() else values.mul_(near)
        local = (weighted.sum(dim=1) / near.sum(dim=1)).float().sum(dim=-1)
        image, text = images.parts[_OVERALL], texts.parts[_OVERALL]
        overall = image[..., :-1] @ text[..., :-1].mT * self.config.overall_size**-0.5
        return local + overall.float() + image[..., -1:] + text[..., -1:].mT


def _products(
    regions: Float[Tensor, "group img region k"], words: Float[Tensor, "group txt word k"]
) -> Float[Tensor, "group region img txt word"]:
    """Return the products of all regions with all words."""
    (g, a, count, _), (b, length) = regions.shape, words.shape[1:3]
    products = regions.transpose(1, 2).reshape(g, count * a, -1) @ words.flatten(1, 2).mT
    return products.view(g, count, a, b, length)


def retriever_for(image: ImageCode, size: int) -> LateInteractionRetriever:
    """Return an untrained retriever for the codes of a model."""
    overall = _global(image)
    return LateInteractionRetriever(
        LateInteractionConfig(image.local.shape[-1], 0 if overall is None else overall.shape[-1], size)
    )


def _global(code: ImageCode | TextCode) -> Tensor | None:
    """Return the global vectors, one for each row, or None where the model has none."""
    overall = code.parts.get("global")
    return overall if overall is not None and overall.dim() == code.local.dim() - 1 else None
