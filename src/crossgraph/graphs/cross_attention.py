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

from crossgraph.graphs.attend import LEAK, AttentionDirection
from crossgraph.graphs.normalization import l2norm, masked_softmax

_REGIONS, _WORDS = 2, 4  # axes of an affinity (group, img, region, txt, word)


def cross_attention(
    regions: Float[Tensor, "group img region dim"],
    region_mask: Bool[Tensor, "group img region"],
    words: Float[Tensor, "group txt word dim"],
    word_mask: Bool[Tensor, "group txt word"],
    smooth: float,
    direction: AttentionDirection,
) -> Float[Tensor, "group img txt query context"]:
    """Return each query's attention weights of the contexts, for all pairs of a group.

    A_ij = LeakyReLU₀.₁(v_i · w_j), one large product for all captions at once.
    t2i: Â is A with unit length over the real words j, for each region i; α_ij = softmax_i(smooth · Â_ij) over the real
    regions. i2t: Â has unit length over the real regions i, for each word j; β_ij = softmax_j(smooth · Â_ij) over the
    real words.

    Args:
        regions: v_i of the pictures.
        region_mask: True where a region is real.
        words: w_j of the captions.
        word_mask: True where a word is real.
        smooth: λ, the inverse temperature of the softmax.
        direction: "t2i": words are the queries. "i2t": regions are.

    Returns:
        α or β; every row sums to 1 over the contexts. Rows of padding queries are finite and meaningless.
    """
    (g, a, r, d), (b, n) = regions.shape, words.shape[1:3]
    products = regions.reshape(g, a * r, d) @ words.reshape(g, b * n, d).transpose(1, 2)
    affinity = F.leaky_relu(products.view(g, a, r, b, n), LEAK)
    if direction == "t2i":
        logits = smooth * l2norm(affinity * word_mask[:, None, None], axis=_WORDS)
        return masked_softmax(logits, region_mask[:, :, :, None, None], axis=_REGIONS).permute(0, 1, 3, 4, 2)
    logits = smooth * l2norm(affinity * region_mask[..., None, None], axis=_REGIONS)
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
