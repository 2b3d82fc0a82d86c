"""SGRAF's cross attention (Eq. 3-4, after SCAN), of words on regions ("t2i") and of regions on words ("i2t").

Queries attend to contexts: affinities are normalised over the queries, then softmaxed over the contexts. It is the
attention of `attend.py` in another memory layout, in which both directions share one affinity (group, img, region,
txt, word).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.graphs.normalization import l2norm, masked_softmax

_REGIONS, _WORDS = 2, 4  # axes of an affinity (group, img, region, txt, word)


def words_attend_to_regions(
    regions: Float[Tensor, "group img region dim"],
    region_mask: Bool[Tensor, "group img region"],
    words: Float[Tensor, "group txt word dim"],
    word_mask: Bool[Tensor, "group txt word"],
    smooth: float,
) -> Float[Tensor, "group img txt word region"]:
    """Return each word's attention weights of the regions, for all pairs of a group.

    A_ij = LeakyReLU₀.₁(v_i · w_j); Â = l2norm of A over the real words j, for each region i;
    α_ij = softmax over the real regions i of smooth · Â_ij. One large product for all captions at once.

    Args:
        regions: v_i of the pictures.
        region_mask: True where a region is real.
        words: w_j of the captions.
        word_mask: True where a word is real; padding is excluded from the norm.
        smooth: λ, the inverse temperature of the softmax.

    Returns:
        α; every row sums to 1 over the regions. Rows of padding words are finite and meaningless.
    """
    affinity = _affinity(regions, words) * word_mask[:, None, None]
    logits = smooth * l2norm(affinity, axis=_WORDS)
    return masked_softmax(logits, region_mask[:, :, :, None, None], axis=_REGIONS).permute(0, 1, 3, 4, 2)


def regions_attend_to_words(
    regions: Float[Tensor, "group img region dim"],
    region_mask: Bool[Tensor, "group img region"],
    words: Float[Tensor, "group txt word dim"],
    word_mask: Bool[Tensor, "group txt word"],
    smooth: float,
) -> Float[Tensor, "group img txt region word"]:
    """Return each region's attention weights of the words: the mirror image of `words_attend_to_regions`.

    Â = l2norm of A over the real *regions* i, for each word j; β_ij = softmax over the real *words* j of
    smooth · Â_ij.

    Args:
        regions: v_i of the pictures.
        region_mask: True where a region is real; padding is excluded from the norm.
        words: w_j of the captions.
        word_mask: True where a word is real.
        smooth: λ, the inverse temperature of the softmax.

    Returns:
        β; every row sums to 1 over the words. Rows of padding regions are finite and meaningless.
    """
    affinity = _affinity(regions, words) * region_mask[..., None, None]
    logits = smooth * l2norm(affinity, axis=_REGIONS)
    return masked_softmax(logits, word_mask[:, None, None], axis=_WORDS).permute(0, 1, 3, 2, 4)


def contexts_of_words(
    weights: Float[Tensor, "group img txt word region"], regions: Float[Tensor, "group img region dim"]
) -> Float[Tensor, "group img txt word dim"]:
    """Return c_j = l2norm(Σ_i α_ij v_i), each word's attended context in each picture."""
    g, a, b, n, r = weights.shape
    flat = weights.reshape(g * a, b * n, r) @ regions.reshape(g * a, r, -1)
    return l2norm(flat.view(g, a, b, n, -1))


def shares_of_regions(
    weights: Float[Tensor, "region word"], region_mask: Bool[Tensor, " region"]
) -> Float[Tensor, "word region"]:
    """Return i2t attention as weights of each word: each region's share of all attention on the word.

    β_ij / Σ_i β_ij over the real regions, from logarithms, so that a word with next to no attention keeps a row.

    Returns:
        Rows that sum to 1; regions that are padding get 0.
    """
    logarithms = weights.clamp(min=torch.finfo(weights.dtype).tiny).log().T
    return masked_softmax(logarithms, region_mask)


def _affinity(
    regions: Float[Tensor, "group img region dim"], words: Float[Tensor, "group txt word dim"]
) -> Float[Tensor, "group img region txt word"]:
    """Return LeakyReLU₀.₁(v_i · w_j) of all pairs."""
    g, a, r, d = regions.shape
    b, n = words.shape[1:3]
    products = regions.reshape(g, a * r, d) @ words.reshape(g, b * n, d).transpose(1, 2)
    return F.leaky_relu(products.view(g, a, r, b, n), 0.1)
