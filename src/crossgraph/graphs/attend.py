"""One attention for the methods after SCAN: fragments of one side look at those of the other.

Whoever looks is the *query*, what is looked at the *context*: words and regions ("t2i"), or regions and words
("i2t"). All pairs of a group are done at once, with axes (group, img, txt, query, context). A side that does not
depend on the other has length 1 on the other's axis: words are (group, 1, txt, word, dim), regions
(group, img, 1, region, dim); queries that were rewritten for each pair have both. `as_words` and `as_regions`
put codes into this form.

SCAN, PFAN, BFAN, IMRAM and GSMN differ in what they do with the weights; the weights are these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.graphs.normalization import EPSILON, at_least_float32, l2norm, masked_softmax

AffinityNorm = Literal["clipped_l2norm", "clipped", "l2norm", "softmax", "no_norm"]
Aggregation = Literal["lse", "mean", "max", "sum"]
LEAK = 0.1  # slope of the clipped affinities below zero
_QUERIES = -2


@dataclass(frozen=True)
class Fragments:
    """One side, in the form that attention takes.

    Attributes:
        vectors: Words or regions, or what they have become for each pair.
        mask: True where a fragment is real.
    """

    vectors: Float[Tensor, "group #img #txt fragment dim"]
    mask: Bool[Tensor, "group #img #txt fragment"]


def as_words(texts: TextCode) -> Fragments:
    """Return grouped captions' words, the same for every picture."""
    return Fragments(texts.local[:, None], texts.mask[:, None])


def as_regions(images: ImageCode) -> Fragments:
    """Return grouped pictures' regions, the same for every caption."""
    return Fragments(images.local[:, :, None], images.mask[:, :, None])


def affinities(queries: Fragments, contexts: Fragments) -> Float[Tensor, "group img txt query context"]:
    """Return the dot product of every query with every context, in float32 at least.

    An axis that only one side has is multiplied out within one large matrix product.
    """
    return at_least_float32(torch.einsum("gabqd,gabcd->gabqc", queries.vectors, contexts.vectors))


def attend(
    affinity: Float[Tensor, "group img txt query context"],
    queries: Fragments,
    contexts: Fragments,
    smooth: float,
    norm: AffinityNorm = "clipped_l2norm",
) -> Float[Tensor, "group img txt query context"]:
    """Return each query's share of attention for each context (SCAN Eq. 3, 7).

    The affinities are normalised over the *queries*, for each context alone, then softmaxed over the contexts:
    P = softmax_c(smooth · norm_q(A)). Padding takes part in neither.

    Args:
        affinity: A, see `affinities`.
        queries: Who looks; only the mask is read.
        contexts: What is looked at; only the mask is read.
        smooth: λ, the inverse temperature of the softmax.
        norm: "clipped_l2norm": LeakyReLU₀.₁, then unit length over the queries. "clipped", "l2norm": one of the
            two. "softmax": over the queries. "no_norm": A itself.

    Returns:
        P; rows sum to 1 over the real contexts. Rows of padding queries are finite and mean nothing.
    """
    real = queries.mask.unsqueeze(-1)
    if norm in ("clipped", "clipped_l2norm"):
        affinity = F.leaky_relu(affinity, LEAK)
    if norm in ("l2norm", "clipped_l2norm"):
        affinity = l2norm(affinity * real, axis=_QUERIES)
    elif norm == "softmax":
        affinity = masked_softmax(affinity, real, axis=_QUERIES)
    return masked_softmax(smooth * affinity, contexts.mask.unsqueeze(-2))


def contexts_seen(
    weights: Float[Tensor, "group img txt query context"], contexts: Fragments
) -> Float[Tensor, "group img txt query dim"]:
    """Return Σ_c P_qc c for every query: what it saw; not normalised."""
    return torch.einsum("gabqc,gabcd->gabqd", weights.to(contexts.vectors.dtype), contexts.vectors)


def cosine(x: Float[Tensor, "..."], y: Float[Tensor, "..."], smallest: float = EPSILON) -> Float[Tensor, "..."]:
    """Return <x, y> / max(|x||y|, 1e-8) along the last axis, in float32 at least; the others broadcast."""
    x, y = at_least_float32(x), at_least_float32(y)
    lengths = torch.linalg.vector_norm(x, dim=-1) * torch.linalg.vector_norm(y, dim=-1)
    return (x * y).sum(dim=-1) / lengths.clamp(min=smallest)


def cosines_with_seen(
    affinity: Float[Tensor, "group img txt query context"],
    weights: Float[Tensor, "group img txt query context"],
    queries: Fragments,
    contexts: Fragments,
) -> Float[Tensor, "group img txt query"]:
    """Return cos(q, Σ_c P_qc c) for every query, without making what it saw.

    With A and the contexts' inner products G, <q, seen> = Σ_c P_qc A_qc and |seen|² = Σ_cc' P_qc G_cc' P_qc': numbers
    instead of vectors for each pair, which is some ten times less to compute and to keep.

    Args:
        affinity: A, before any norm.
        weights: P.
        queries: Who looked.
        contexts: What was looked at.
    """
    gram = affinities(contexts, contexts)
    product = (weights * affinity).sum(dim=-1)
    square = (at_least_float32(torch.einsum("gabqc,gabcd->gabqd", weights, gram)) * weights).sum(dim=-1)
    lengths = torch.linalg.vector_norm(at_least_float32(queries.vectors), dim=-1) * square.clamp(min=EPSILON**2).sqrt()
    return product / lengths.clamp(min=EPSILON)


def aggregate(
    likeness: Float[Tensor, "group img txt query"],
    mask: Bool[Tensor, "group #img #txt query"],
    how: Aggregation,
    smooth: float = 1.0,
) -> Float[Tensor, "group img txt"]:
    """Bring the real queries' numbers together to the pair's (SCAN Eq. 5-6).

    Args:
        likeness: r, one number a query.
        mask: True where a query is real.
        how: "lse": log(Σ exp(smooth · r)) / smooth, a sum that grows by log(n) / smooth with the number of
            queries. "mean", "max", "sum".
        smooth: Of "lse".
    """
    if how == "lse":
        return (smooth * likeness).masked_fill(~mask, -torch.inf).logsumexp(dim=-1) / smooth
    if how == "max":
        return likeness.masked_fill(~mask, -torch.inf).amax(dim=-1)
    total = (likeness * mask).sum(dim=-1)
    return total / mask.sum(dim=-1).clamp(min=1) if how == "mean" else total


def importance(
    likeness: Float[Tensor, "*pair query"], mask: Bool[Tensor, "*pair query"], how: Aggregation, smooth: float = 1.0
) -> Float[Tensor, "*pair query"]:
    """Return how much each query counted in an `aggregate`; 0 for padding, sums to 1.

    "lse" and "max": the derivative of the aggregate, softmax(smooth · r) and the first largest. "mean" and "sum"
    count all alike, so that what differs is r itself: its share among those above 0, or even shares where none is.
    """
    if how == "lse":
        return masked_softmax(smooth * likeness, mask)
    if how == "max":
        best = likeness.masked_fill(~mask, -torch.inf).argmax(dim=-1)
        return F.one_hot(best, likeness.shape[-1]).to(likeness.dtype)
    real = mask.to(likeness.dtype)
    positive = likeness.clamp(min=0) * real
    positive = torch.where(positive.sum(dim=-1, keepdim=True) > 0, positive, real)
    return positive / positive.sum(dim=-1, keepdim=True)
