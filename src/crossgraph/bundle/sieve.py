"""A sieve: what the re-ranker would say of a pair, guessed by a few hundred times less work.

An index vector a side knows too little to tell which few pairs of a large matrix an interaction model would like: its
short lists are long. The sieve keeps a vector a word and a region, and lets them meet late, as the re-ranker does:

    score(image, text) = Σ_j Σ_i softmax_i(a_j · k_i) (q_j · v_i) + x · y + b_image + b_text

with words j and regions i, all vectors of some 64 numbers projected from the re-ranker's own codes; x, y and the two
biases come from its global vectors (or the mean of its local ones). It learns the logits of the re-ranker's scores.
Late interaction (ColBERT) and distillation are old; putting them between an index and a re-ranker of words and regions
is ours, not any paper's.
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
_SHARPEST = 50.0  # e^50, a hundred times, is far from the end of float32


@dataclass(frozen=True)
class SieveConfig:
    """Sizes of the sieve.

    Attributes:
        embed_size: d of the codes it reads.
        global_size: Of their part "global"; 0 where they have none, and the mean of the local ones is read.
        size: k of a word's and a region's vectors.
        overall_size: Of a side's one vector.
    """

    embed_size: int
    global_size: int
    size: int = 64
    overall_size: int = 128


class Side(nn.Module):
    """One side's projections.

    Args:
        config: Sizes.
    """

    def __init__(self, config: SieveConfig) -> None:
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


class Sieve(nn.Module):
    """A `Scorer` of codes, projected before or not; its scores order pairs and mean nothing else.

    Args:
        config: Sizes.
    """

    def __init__(self, config: SieveConfig) -> None:
        super().__init__()
        self.config = config
        self.images, self.texts = Side(config), Side(config)
        self.sharpness = nn.Parameter(torch.tensor(10.0))  # of the softmax, whose keys are unit vectors

    def prepare_images(self, code: ImageCode) -> ImageCode:
        """Return the projected code; a projected one comes back as it is."""
        return code if _VALUES in code.parts else self.images(code)

    def prepare_texts(self, code: TextCode) -> TextCode:
        """Return the projected code, by the caption's length and the softmax's sharpness; a projected one as it is."""
        if _VALUES in code.parts:
            return code
        found = self.texts(code)
        words = code.mask.sum(dim=-1)[..., None, None].clamp(min=1)
        values = found.parts[_VALUES] * (self.config.size * words).rsqrt()
        sharpness = self.sharpness.clamp(max=_SHARPEST)
        return TextCode(found.local * sharpness, found.mask, parts={**found.parts, _VALUES: values})

    def score(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every picture of a group with every caption of it; see `Matcher.score`.

        Args:
            images: `local` (g, a, R, d), projected or not.
            texts: `local` (g, b, L, d), projected or not.
        """
        images, texts = self.prepare_images(images), self.prepare_texts(texts)
        # regions lead, so that what is summed over them is summed whole rows at a time
        near = _products(images.local, texts.local).exp_()  # of unit keys: it cannot overflow
        if not bool(images.mask.all()):
            near = near * images.mask.transpose(1, 2)[..., None, None]
        said = _products(images.parts[_VALUES], texts.parts[_VALUES])
        weighed = said * near if torch.is_grad_enabled() else said.mul_(near)
        local = (weighed.sum(dim=1) / near.sum(dim=1)).float().sum(dim=-1)
        image, text = images.parts[_OVERALL], texts.parts[_OVERALL]
        overall = image[..., :-1] @ text[..., :-1].mT * self.config.overall_size**-0.5
        return local + overall.float() + image[..., -1:] + text[..., -1:].mT


def _products(
    regions: Float[Tensor, "group img region k"], words: Float[Tensor, "group txt word k"]
) -> Float[Tensor, "group region img txt word"]:
    """Return the products of all regions with all words."""
    (g, a, count, _), (b, length) = regions.shape, words.shape[1:3]
    found = regions.transpose(1, 2).reshape(g, count * a, -1) @ words.flatten(1, 2).mT
    return found.view(g, count, a, b, length)


def sieve_for(image: ImageCode, size: int) -> Sieve:
    """Return a fresh sieve that fits the codes of a model."""
    overall = _global(image)
    return Sieve(SieveConfig(image.local.shape[-1], 0 if overall is None else overall.shape[-1], size))


def _global(code: ImageCode | TextCode) -> Tensor | None:
    """Return the global vectors, one a row, where a model has them."""
    overall = code.parts.get("global")
    return overall if overall is not None and overall.dim() == code.local.dim() - 1 else None
