"""SCAN's cross attention, shared by its successors: regions or words of one side attend to those of the other.

A *fragment* is a word or a region. *Queries* attend to *contexts*: words to regions ("t2i"), or regions to words
("i2t"). All pairs of a group are computed at once, with axes (group, img, txt, query, context). A side that does not
depend on the other has length 1 on the other's axis: words are (group, 1, txt, word, dim), regions
(group, img, 1, region, dim); queries that were rewritten for each pair have both. `as_words` and `as_regions`
bring codes into this layout.

SCAN, PFAN, BFAN, IMRAM and GSMN share the attention weights computed here and differ in how they use them.
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
AttentionDirection = Literal["t2i", "i2t"]  # words attend to regions, or regions to words
Aggregation = Literal["lse", "mean", "max", "sum"]
LEAK = 0.1  # slope of the clipped affinities below zero
_QUERIES = -2


@dataclass(frozen=True)
class Fragments:
    """Words or regions in the layout of attention.

    Attributes:
        vectors: Embeddings, of a side or rewritten for each pair.
        mask: True where a fragment is real.
    """

    vectors: Float[Tensor, "group #img #txt fragment dim"]
    mask: Bool[Tensor, "group #img #txt fragment"]


@dataclass(frozen=True)
class PairAttention:
    """The attention of one pair in one direction, as an explanation.

    Attributes:
        weights: Each query's weights of the contexts.
        importance: How much each query counted in the score; sums to 1.
    """

    weights: Float[Tensor, "query context"]
    importance: Float[Tensor, " query"]


@dataclass(frozen=True)
class Comparison:
    """One direction of a block of pairs: the queries compared with their attended contexts.

    Attributes:
        weights: Each query's attention weights.
        similarity: Each query's similarity to its attended context, usually their cosine.
        mask: True where a query is real.
    """

    weights: Float[Tensor, "group img txt query context"]
    similarity: Float[Tensor, "group img txt query"]
    mask: Bool[Tensor, "group #img #txt query"]

    @property
    def score(self) -> Float[Tensor, "group img txt"]:
        """The mean similarity of the real queries."""
        return aggregate(self.similarity, self.mask, "mean")

    def first_pair(self) -> PairAttention:
        """Return the attention of the first pair."""
        shares = importance(self.similarity[0, 0, 0], self.mask[0, 0, 0], "mean")
        return PairAttention(self.weights[0, 0, 0], shares)


def as_words(texts: TextCode) -> Fragments:
    """Return the words of grouped captions, shared by all pictures."""
    return Fragments(texts.local[:, None], texts.mask[:, None])


def as_regions(images: ImageCode) -> Fragments:
    """Return the regions of grouped pictures, shared by all captions."""
    return Fragments(images.local[:, :, None], images.mask[:, :, None])


def affinities(queries: Fragments, contexts: Fragments) -> Float[Tensor, "group img txt query context"]:
    """Return the dot product of every query with every context, in float32 at least.

    An axis of length 1 on one side becomes part of one large matrix product.
    """
    return at_least_float32(torch.einsum("gabqd,gabcd->gabqc", queries.vectors, contexts.vectors))


def attend(
    affinity: Float[Tensor, "group img txt query context"],
    queries: Fragments,
    contexts: Fragments,
    smooth: float,
    norm: AffinityNorm = "clipped_l2norm",
) -> Float[Tensor, "group img txt query context"]:
    """Return each query's attention weights of the contexts (SCAN Eq. 3, 7): P = softmax_c(smooth · norm_q(A)).

    The affinities are normalised over the *queries*, for each context alone, before the softmax over the contexts.
    Padding is excluded from both.

    Args:
        affinity: A, see `affinities`.
        queries: Read for their mask alone.
        contexts: Likewise.
        smooth: λ, the inverse temperature of the softmax.
        norm: "clipped_l2norm": LeakyReLU₀.₁, then unit length over the queries. "clipped", "l2norm": one of the
            two. "softmax": over the queries. "no_norm": A itself.

    Returns:
        P; rows sum to 1 over the real contexts. Rows of padding queries are finite and meaningless.
    """
    real = queries.mask.unsqueeze(-1)
    if norm in ("clipped", "clipped_l2norm"):
        affinity = F.leaky_relu(affinity, LEAK)
    if norm in ("l2norm", "clipped_l2norm"):
        affinity = l2norm(affinity * real, axis=_QUERIES)
    elif norm == "softmax":
        affinity = masked_softmax(affinity, real, axis=_QUERIES)
    return masked_softmax(smooth * affinity, contexts.mask.unsqueeze(-2))


def attended_contexts(
    weights: Float[Tensor, "group img txt query context"], contexts: Fragments
) -> Float[Tensor, "group img txt query dim"]:
    """Return every query's attended context Σ_c P_qc c; not normalised."""
    return torch.einsum("gabqc,gabcd->gabqd", weights.to(contexts.vectors.dtype), contexts.vectors)


def cosine(x: Float[Tensor, "..."], y: Float[Tensor, "..."], smallest: float = EPSILON) -> Float[Tensor, "..."]:
    """Return <x, y> / max(|x||y|, 1e-8) along the last axis, in float32 at least; the others broadcast."""
    x, y = at_least_float32(x), at_least_float32(y)
    lengths = torch.linalg.vector_norm(x, dim=-1) * torch.linalg.vector_norm(y, dim=-1)
    return (x * y).sum(dim=-1) / lengths.clamp(min=smallest)


def cosines_with_attended(
    affinity: Float[Tensor, "group img txt query context"],
    weights: Float[Tensor, "group img txt query context"],
    queries: Fragments,
    contexts: Fragments,
) -> Float[Tensor, "group img txt query"]:
    """Return cos(q, a_q) for every query and its attended context a_q = Σ_c P_qc c, without computing a_q.

    With A and the contexts' inner products G, <q, a_q> = Σ_c P_qc A_qc and |a_q|² = Σ_cc' P_qc G_cc' P_qc'. These are
    numbers instead of vectors for each pair: some ten times fewer operations and saved bytes.

    Args:
        affinity: A, before any norm.
        weights: P.
        queries: q.
        contexts: c.
    """
    gram = affinities(contexts, contexts)  # (group, #img, #txt, context, context): of a side, not of pairs
    product = (weights * affinity).sum(dim=-1)
    square = (at_least_float32(torch.einsum("gabqc,gabcd->gabqd", weights, gram)) * weights).sum(dim=-1)
    lengths = torch.linalg.vector_norm(at_least_float32(queries.vectors), dim=-1) * square.clamp(min=EPSILON**2).sqrt()
    return product / lengths.clamp(min=EPSILON)


def aggregate(
    similarity: Float[Tensor, "group img txt query"],
    mask: Bool[Tensor, "group #img #txt query"],
    how: Aggregation,
    smooth: float = 1.0,
) -> Float[Tensor, "group img txt"]:
    """Return the score of every pair from the similarities of its real queries (SCAN Eq. 5-6).

    Args:
        similarity: r, one number a query.
        mask: True where a query is real.
        how: "lse": log(Σ exp(smooth · r)) / smooth, a sum that grows by log(n) / smooth with the number of
            queries. "mean", "max", "sum".
        smooth: Of "lse".
    """
    if how == "lse":
        return (smooth * similarity).masked_fill(~mask, -torch.inf).logsumexp(dim=-1) / smooth
    if how == "max":
        return similarity.masked_fill(~mask, -torch.inf).amax(dim=-1)
    total = (similarity * mask).sum(dim=-1)
    return total / mask.sum(dim=-1).clamp(min=1) if how == "mean" else total


def importance(
    similarity: Float[Tensor, "*pair query"], mask: Bool[Tensor, "*pair query"], how: Aggregation, smooth: float = 1.0
) -> Float[Tensor, "*pair query"]:
    """Return how much each query counted in an `aggregate`; 0 for padding, sums to 1.

    "lse" and "max": the derivative of the aggregate, softmax(smooth · r) and the first maximum. The derivative of
    "mean" and "sum" is the same for all queries; there it is the query's share of the positive r, or an even share
    where no r is positive.
    """
    if how == "lse":
        return masked_softmax(smooth * similarity, mask)
    if how == "max":
        best = similarity.masked_fill(~mask, -torch.inf).argmax(dim=-1)
        return F.one_hot(best, similarity.shape[-1]).to(similarity.dtype)
    real = mask.to(similarity.dtype)
    positive = similarity.clamp(min=0) * real
    positive = torch.where(positive.sum(dim=-1, keepdim=True) > 0, positive, real)
    return positive / positive.sum(dim=-1, keepdim=True)
