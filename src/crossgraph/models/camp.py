"""CAMP: cross-modal adaptive message passing.

Wang, Liu, Li, Sheng, Yan, Wang, Shao: "CAMP: Cross-Modal Adaptive Message Passing for Text-Image Retrieval", ICCV
2019, arXiv 1909.05506.

What is unusual:
- Words send messages to regions and regions to words; a gate, sigmoid(<v, message>), limits how far a fragment is
  changed by its message. Then both sides are pooled and *classified as a pair*: the score is a probability, not a
  cosine.
- The released full model (`gate_fusion_new`) lets the messages of a picture attend to each other before they are
  gated; the paper's text is nearer to the older `gate_fusion`. The authors train the two `cross_attention` forms,
  without gates, first.
- Trained as a classifier, by cross-entropy with the hardest negatives; the published code does so even for the forms
  whose scores are cosines, where negative ones then have no gradient.
- Published `cross_attention_new` averages over 50 words, padding included (`word_average`).

A message is a linear combination of the other side's vectors, Σ_c M_qc c, and so is a combination of messages.
Therefore all products of messages are computed from M here: numbers for each pair instead of vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.types import Attention, ImageCode, TextCode
from crossgraph.graphs.attend import Fragments, PairAttention, affinities, as_regions, as_words, attended_contexts
from crossgraph.graphs.initialisation import xavier_layers
from crossgraph.graphs.normalization import EPSILON, at_least_float32, l2norm, masked_softmax
from crossgraph.models.base import MODELS, Batch, Inputs, PrescribedCrossEntropy, Progress, RankingTerm
from crossgraph.models.fragments import FragmentConfig, FragmentMatcher, align_directions

Form = Literal["gate_fusion_new", "gate_fusion", "cross_attention", "cross_attention_new"]
HEADS = 4
PUBLISHED_WORDS = 50


@dataclass(frozen=True)
class CAMPConfig(FragmentConfig):
    """CAMP's choices."""

    image_norm: Literal["l2", "none"] = "none"
    text_norm: Literal["l2", "none"] = "none"
    form: Form = "gate_fusion_new"  # the released full model, the older one, and the first stage's two
    loss: Literal["bce", "ranking"] = "bce"  # the method's own, or the recipe's
    negatives: Literal["hardest", "all"] = "hardest"  # of "bce"
    word_average: Literal["real", "published_50"] = "real"  # of cross_attention_new: its words, or 50 with padding

    @property
    def gated(self) -> bool:
        """Whether fragments are fused with gated messages and pairs are classified by layers."""
        return self.form.startswith("gate")

    @property
    def twice(self) -> bool:
        """Whether messages attend to each other."""
        return self.form.endswith("new")


class HeadPooling(nn.Module):
    """Attention pooling: the mean of four heads' softmax over the fragments, from a common hidden layer."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden, self.heads = nn.Linear(dim, dim), nn.Linear(dim, HEADS)

    def weights(
        self, x: Float[Tensor, "group img txt fragment dim"], mask: Bool[Tensor, "group #img #txt fragment"]
    ) -> Float[Tensor, "group img txt fragment"]:
        """Return each fragment's weight; sums to 1 over the real ones."""
        logits = at_least_float32(self.heads(torch.relu(self.hidden(x))))
        return masked_softmax(logits, mask.unsqueeze(-1), axis=-2).mean(dim=-1)

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        return {"heads.bias": "the same for all fragments under a softmax"}


class Side(nn.Module):
    """Layers of the fragments of one side: messages to them, gates, pooling.

    Args:
        config: The model's.
    """

    def __init__(self, config: CAMPConfig) -> None:
        super().__init__()
        d, self.config = config.embed_size, config
        if config.twice:
            self.message_query = nn.Linear(d, d, bias=False)
            self.message_key = nn.Linear(d, d, bias=False)
        if config.gated:
            self.fuse = nn.Linear(2 * d, d, bias=config.form == "gate_fusion")
        if config.form != "cross_attention_new":
            self.pool = HeadPooling(d)

    def mixing(self, first: Tensor, queries: Fragments, contexts: Fragments) -> Tensor:
        """Return M: the first attention, multiplied by the messages' attention to each other where the form has it."""
        if not self.config.twice:
            return first
        message_queries, message_keys = (layer(contexts.vectors) for layer in (self.message_query, self.message_key))
        products = affinities(Fragments(message_queries, contexts.mask), Fragments(message_keys, contexts.mask))
        logits = first @ products @ first.mT / self.config.embed_size**0.5
        return masked_softmax(logits, queries.mask.unsqueeze(-2)) @ first

    def gate(
        self, weights: Tensor, queries: Fragments, contexts: Fragments
    ) -> tuple[Float[Tensor, "group img txt query 1"], Float[Tensor, "group img txt query context"]]:
        """Return g = sigmoid(<v, message>), and M scaled to the messages that are fused (unit vectors or not)."""
        if self.config.twice:
            squares = ((weights @ affinities(contexts, contexts)) * weights).sum(dim=-1, keepdim=True)
            weights = weights / (squares.clamp(min=EPSILON**2).sqrt() + EPSILON)
        product = (weights * affinities(queries, contexts)).sum(dim=-1, keepdim=True)
        return torch.sigmoid(product), weights

    def fused(self, weights: Tensor, queries: Fragments, contexts: Fragments) -> Tensor:
        """Return o = v + ReLU(F ([v; message] g)) (Eq. 6-7)."""
        gate, scaled = self.gate(weights, queries, contexts)
        own, others = self.fuse.weight.chunk(2, dim=1)
        projected = Fragments(F.linear(contexts.vectors, others), contexts.mask)
        inner = gate * (F.linear(queries.vectors, own) + attended_contexts(scaled, projected))
        inner = inner if self.fuse.bias is None else inner + self.fuse.bias  # pyright: ignore[reportUnnecessaryComparison]
        return queries.vectors + torch.relu(inner)


@dataclass(frozen=True)
class Pooled:
    """One side of a block of pairs.

    Attributes:
        mixing: M, each context's weight in each query's message.
        importance: Each query's weight in the pooled vector.
        vector: The pooled side after the other's messages.
    """

    mixing: Float[Tensor, "group img txt query context"]
    importance: Float[Tensor, "group img txt query"]
    vector: Float[Tensor, "group img txt dim"]


@MODELS.register("camp")
class CAMP(FragmentMatcher):
    """Message passing between the sides, gates, and a classification of the pair."""

    Config = CAMPConfig
    paper = "Wang et al., CAMP: Cross-Modal Adaptive Message Passing for Text-Image Retrieval, ICCV 2019"
    config: CAMPConfig

    def __init__(self, config: CAMPConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        d = config.embed_size
        self.region_key, self.word_key = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        if config.twice:
            self.region_query, self.word_query = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.to_regions, self.to_words = Side(config), Side(config)
        if config.gated:
            self.read_hidden, self.read_out = nn.Linear(2 * d, d), nn.Linear(d, 1)
        xavier_layers(self)

    def compare(self, images: ImageCode, texts: TextCode) -> tuple[Pooled, Pooled]:
        """Return the pictures after the captions' messages, and the captions after the pictures'."""
        regions, words = as_regions(images), as_words(texts)
        pooling = self._average if self.config.form == "cross_attention_new" else self._pool
        keys = self.region_key, self.word_key
        queries = (self.region_query, self.word_query) if self.config.twice else keys
        image = pooling(self.to_regions, _attention(queries[0], keys[1], regions, words), regions, words)
        text = pooling(self.to_words, _attention(queries[1], keys[0], words, regions), words, regions)
        return image, text

    def _pool(self, side: Side, first: Tensor, queries: Fragments, contexts: Fragments) -> Pooled:
        mixing = side.mixing(first, queries, contexts)
        fused = side.fused(mixing, queries, contexts) if self.config.gated else attended_contexts(mixing, contexts)
        shares = side.pool.weights(fused, queries.mask)
        return Pooled(mixing, shares, (shares.to(fused.dtype).unsqueeze(-2) @ fused).squeeze(-2))

    def _average(self, side: Side, first: Tensor, queries: Fragments, contexts: Fragments) -> Pooled:
        """Average the messages: one vector a pair, mixed by the average of M."""
        mixing = side.mixing(first, queries, contexts)
        real = queries.mask.to(mixing.dtype)
        count = real.sum(dim=-1, keepdim=True)
        if self.config.word_average == "real" or side is self.to_regions:
            shares = (real / count).expand(mixing.shape[:-1])
            average = shares.unsqueeze(-2) @ mixing
        else:
            padding = (PUBLISHED_WORDS - count).clamp(min=0)
            shares = (real / (count + padding)).expand(mixing.shape[:-1])
            of_zero = _mixing_of_zero_query(side, first, queries, contexts)
            average = shares.unsqueeze(-2) @ mixing + (padding / (count + padding)).unsqueeze(-1) * of_zero
        return Pooled(mixing, shares, attended_contexts(average, contexts).squeeze(-2))

    def read(self, image: Pooled, text: Pooled) -> Float[Tensor, "group img txt"]:
        """Return the pair's probability, or the cosine of its two vectors in the forms without gates."""
        if self.config.gated:
            return torch.sigmoid(self.logits(image, text))
        picture, caption = (l2norm(at_least_float32(side.vector)) for side in (image, text))
        return (picture * caption).sum(dim=-1)

    def logits(self, image: Pooled, text: Pooled) -> Float[Tensor, "group img txt"]:
        """Return the logit of the pair's probability."""
        vectors = image.vector, text.vector
        if self.config.twice:
            vectors = l2norm(image.vector), l2norm(text.vector)
        hidden = torch.relu(self.read_hidden(torch.cat(vectors, dim=-1)))
        return at_least_float32(self.read_out(hidden).squeeze(-1))

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group."""
        return self.read(*self.compare(images, texts))

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the method's cross-entropy as "matching", or the recipe's ranking loss (`loss: ranking`)."""
        if self.config.loss == "ranking":
            return super().losses(images, texts, batch, ranking, progress)
        prescribed = PrescribedCrossEntropy(self.config.negatives)
        return {"matching": ranking(self.score_block(images, texts), prescribed)}

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by the regions' weights in each word's message and the words' weights in the pooling."""
        pair = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        attention = PairAttention(pair[1].mixing[0, 0, 0], pair[1].importance[0, 0, 0])
        return align_directions(image, text, self.read(*pair), t2i=attention)


def _attention(query_layer: nn.Linear, key_layer: nn.Linear, queries: Fragments, contexts: Fragments) -> Tensor:
    """Return softmax(q kᵀ / √d) over the real contexts (Eq. 1-4)."""
    projected = Fragments(query_layer(queries.vectors), queries.mask)
    keys = Fragments(key_layer(contexts.vectors), contexts.mask)
    logits = affinities(projected, keys) / query_layer.out_features**0.5
    return masked_softmax(logits, contexts.mask.unsqueeze(-2))


def _mixing_of_zero_query(side: Side, first: Tensor, queries: Fragments, contexts: Fragments) -> Tensor:
    """Return M's row for a zero query (padding): even attention, then attention to the real queries' messages."""
    even = contexts.mask.to(first.dtype)
    even = (even / even.sum(dim=-1, keepdim=True)).unsqueeze(-2).expand(*first.shape[:3], 1, -1)
    hidden = torch.zeros_like(queries.mask[..., :1])
    extended = Fragments(F.pad(queries.vectors, (0, 0, 0, 1)), torch.cat([queries.mask, hidden], dim=-1))
    return side.mixing(torch.cat([first, even], dim=-2), extended, contexts)[..., -1:, :]
