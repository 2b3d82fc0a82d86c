"""Cross attention: every word looks at every region of every picture (SGRAF Eq. 3-4, after SCAN)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.graphs.normalization import l2norm, masked_softmax


def words_attend_to_regions(
    regions: Float[Tensor, "group img region dim"],
    region_mask: Bool[Tensor, "group img region"],
    words: Float[Tensor, "group txt word dim"],
    word_mask: Bool[Tensor, "group txt word"],
    smooth: float,
) -> Float[Tensor, "group img txt word region"]:
    """Return each word's share of attention for each region, for all pairs of a group.

    A_ij = LeakyReLU₀.₁(v_i · w_j); Â = l2norm of A over the real words j, for each region i;
    α_ij = softmax over the real regions i of smooth · Â_ij. One large product for all captions at once.

    Args:
        regions: v_i of the pictures.
        region_mask: True where a region is real.
        words: w_j of the captions.
        word_mask: True where a word is real; padding takes no part in the norm.
        smooth: λ, the inverse temperature of the softmax.

    Returns:
        α; every row sums to 1 over the regions. Rows of padding words are finite and mean nothing.
    """
    g, a, r, d = regions.shape
    b, n = words.shape[1:3]
    affinity = regions.reshape(g, a * r, d) @ words.reshape(g, b * n, d).transpose(1, 2)
    affinity = F.leaky_relu(affinity.view(g, a, r, b, n), 0.1) * word_mask[:, None, None]
    logits = smooth * l2norm(affinity, axis=-1)
    weights = masked_softmax(logits, region_mask[:, :, :, None, None], axis=2)
    return weights.permute(0, 1, 3, 4, 2)


def contexts_of_words(
    weights: Float[Tensor, "group img txt word region"], regions: Float[Tensor, "group img region dim"]
) -> Float[Tensor, "group img txt word dim"]:
    """Return c_j = l2norm(Σ_i α_ij v_i): what each word saw in each picture."""
    g, a, b, n, r = weights.shape
    flat = weights.reshape(g * a, b * n, r) @ regions.reshape(g * a, r, -1)
    return l2norm(flat.view(g, a, b, n, -1))
