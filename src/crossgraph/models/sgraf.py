"""SGRAF: similarity graph reasoning (SGR) and attention filtration (SAF).

Diao, Zhang, Ma, Lu: "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021,
arXiv 2101.01368.

What is unusual:
- A pair is compared by *vectors*: each word with its attended context in the picture, and the two global vectors.
  SGR passes messages between these vectors over a complete graph and reads the global node; SAF weighs and sums them.
- The affinity of words and regions is normalised over the *words*, then softmaxed over the *regions*.
- SGR and SAF are trained apart; "SGRAF" is the mean of their score matrices: two models, not one.
- The published visual attention has a batch norm over the region *index*, so published weights take
  exactly 36 regions. Ours normalises per feature and takes any number (`region_norm`).
- The published SAF normalises attention per caption while it trains (`attention_statistics`).

The paper's ablations are fields of the config (Tables 3, 4, 7); averaging and joint training are models of their own
in `sgraf_ablations.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import Count, Probability, Size
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.attend import AttentionDirection
from crossgraph.graphs.cross_attention import cross_attention, shares_of_regions
from crossgraph.graphs.initialisation import xavier_layers
from crossgraph.graphs.normalization import at_least_float32, l2norm
from crossgraph.graphs.pooling import RegionNorm, TextualSelfAttention, VisualSelfAttention
from crossgraph.graphs.similarity_graph import (
    AttentionFiltration,
    AttentionStatistics,
    GraphReasoning,
    SimilarityScalar,
    SimilarityVector,
)
from crossgraph.models.base import MODELS, Inputs, Matcher
from crossgraph.models.fast.form import DTYPES, Precision, Scorer
from crossgraph.models.fast.sgraf import FastFiltration, FastReasoning, FastSGRAF, ReadOut
from crossgraph.models.training_blocks import Splits
from crossgraph.text.choice import TextChoice, TextEncoder, build_text_encoder
from crossgraph.text.encoder import Direction

Nodes = Literal["both", "global", "local"]
Similarity = Literal["vector", "scalar"]


@dataclass(frozen=True)
class SGRAFConfig(TextChoice):
    """Sizes and choices that all forms of SGRAF share; the defaults are the paper's."""

    sim_size: Size = 256  # m, similarity vectors (Table 7)
    text_direction: Direction = "both"  # Bi-GRU, or one direction
    image_norm: Literal["l2", "none"] = "l2"  # of region embeddings
    text_norm: Literal["l2", "none"] = "l2"  # of word embeddings
    region_norm: RegionNorm = "feature"  # "region" = published: a fixed number of regions
    smooth: float = 9.0  # λ of the attention
    dropout: Probability = 0.4  # of word embeddings and of both self-attentions
    nodes: Nodes = "both"  # the global similarity, the local ones, or both (Table 3)
    attention: AttentionDirection = "t2i"  # "i2t": regions attend to words, with a local node each (Table 4)
    similarity: Similarity = "vector"  # "scalar": cosines, which can only be averaged (Table 4)

    def __post_init__(self) -> None:
        """Refuse values outside their range; see `TextChoice`.

        Raises:
            InputError: Choices that exclude each other.
        """
        super().__post_init__()
        if self.nodes == "global" and self.attention == "i2t":
            raise InputError(
                "model.config.attention 'i2t' with model.config.nodes 'global': no region meets a word then",
                "leave attention at 't2i', or set nodes to 'local' or 'both'",
            )


@dataclass(frozen=True)
class SGRConfig(SGRAFConfig):
    """SGR's own choices."""

    steps: Count = 3  # of reasoning, each with its own weights (Table 3: 0 to 4)

    def __post_init__(self) -> None:
        """Refuse values outside their range; see `SGRAFConfig`."""
        super().__post_init__()
        if self.nodes == "global" and self.steps:
            raise InputError(
                f"model.config.steps {self.steps} with model.config.nodes 'global': one node has none to reason with",
                "set steps to 0, or nodes to 'both'",
            )
        refuse_scalars(self, "SGR reasons over")


@dataclass(frozen=True)
class SAFConfig(SGRAFConfig):
    """SAF's own choices."""

    attention_statistics: AttentionStatistics = "per_caption"  # published; "per_batch" sees all pairs at once

    def __post_init__(self) -> None:
        """Refuse values outside their range; see `SGRAFConfig`."""
        super().__post_init__()
        if self.nodes == "global":
            raise InputError(
                "model.config.nodes 'global' leaves SAF one node and nothing to weigh",
                "set nodes to 'local' or 'both', or take the model 'sgr' with steps 0",
            )
        refuse_scalars(self, "SAF weighs")


def refuse_scalars(config: SGRAFConfig, what: str) -> None:
    """Refuse cosines where nodes must be vectors.

    Raises:
        InputError: The config's similarity is "scalar".
    """
    if config.similarity == "scalar":
        raise InputError(
            f"model.config.similarity 'scalar': {what} similarity vectors",
            "set similarity to 'vector', or take the model 'sgraf-average'",
        )


@dataclass(frozen=True)
class PairNodes:
    """The nodes of a block of pairs, the input of reasoning, filtration or averaging.

    Attributes:
        nodes: Similarity vectors: the global one first where there is one, then one per word (t2i) or per
            region (i2t) where there are local ones. "sim" is 1 for cosines.
        mask: True where a node is real.
        attention: Word-to-region weights α (t2i) or region-to-word weights β (i2t); None without local nodes.
    """

    nodes: Float[Tensor, "group img txt node sim"]
    mask: Bool[Tensor, "group #img #txt node"]
    attention: Float[Tensor, "group img txt query context"] | None


def local_nodes(
    similarity: SimilarityVector | SimilarityScalar,
    images: ImageCode,
    texts: TextCode,
    smooth: float,
    direction: AttentionDirection,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a node for each word (t2i) or region (i2t), the mask of real ones, and the attention weights (Eq. 3-4)."""
    attention = cross_attention(images.local, images.mask, texts.local, texts.mask, smooth, direction)
    if direction == "t2i":
        return similarity.of_contexts(attention, images.local, texts.local), texts.mask[:, None], attention
    # with captions as the attended side: (group, txt, img, region, ·) before the axes are exchanged back
    nodes = similarity.of_contexts(attention.transpose(1, 2), texts.local, images.local).transpose(1, 2)
    return nodes, images.mask[:, :, None], attention


def weights_of_words(
    attention: Float[Tensor, "query context"],
    node_weights: Float[Tensor, " query"],
    real: Bool[Tensor, " region"],
    words: int,
    direction: AttentionDirection,
) -> tuple[Float[Tensor, "word region"], Float[Tensor, " word"]]:
    """Return the words' weights of the regions and their significance, of one pair.

    t2i: the attention and the weights of the words' nodes. i2t: each region's share of all attention on the word, and
    the weights of the regions' nodes, distributed by the regions' attention.
    """
    if direction == "t2i":
        return attention[:words], node_weights[:words]
    return shares_of_regions(attention[:, :words], real), node_weights @ attention[:, :words]


class SGRAF(Matcher):
    """Base of SGRAF's forms: encoders and similarity vectors; a subclass reads a score from the nodes."""

    kind = "interaction"
    config: SGRAFConfig

    def __init__(self, config: SGRAFConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        d, m = config.embed_size, config.sim_size
        self.build_encoders()
        if config.nodes != "local":
            self.visual_global = VisualSelfAttention(d, config.dropout, config.region_norm, inputs.regions)
            self.textual_global = TextualSelfAttention(d, config.dropout)
        vectors = config.similarity == "vector"
        if config.nodes != "global":
            self.local_similarity = SimilarityVector(d, m) if vectors else SimilarityScalar()
        if config.nodes != "local":
            self.global_similarity = SimilarityVector(d, m) if vectors else SimilarityScalar()
        self.build_reading(m)
        xavier_layers(self)

    def build_encoders(self) -> None:
        """Build the layers from regions and words to their embeddings."""
        config, inputs = self.config, self.inputs
        self.project_regions = nn.Linear(inputs.feature_size, config.embed_size)
        self.encode_words: TextEncoder = build_text_encoder(
            config, inputs.vocabulary_size, config.text_direction, config.dropout
        )

    def embed_regions(self, regions: Regions) -> Float[Tensor, "img region dim"]:
        """Return the region embeddings before their norm."""
        return self.project_regions(regions.features)

    @abstractmethod
    def build_reading(self, sim: int) -> None:
        """Build the layers between the nodes and the score."""

    @abstractmethod
    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the score of every pair from its nodes."""

    @abstractmethod
    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return each node's weight in the score; sums to 1 over the nodes."""

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings, and the global vector v* as part "global" unless nodes are local."""
        local = self.embed_regions(regions)
        if self.config.image_norm == "l2":
            local = l2norm(local)
        parts = {} if self.config.nodes == "local" else {"global": self.visual_global(local, regions.mask)}
        return ImageCode(local, regions.mask, parts=parts)

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: contextual word embeddings, and the global vector t* as part "global" likewise."""
        local = self.encode_words(tokens)
        if self.config.text_norm == "l2":
            local = l2norm(local)
        parts = {} if self.config.nodes == "local" else {"global": self.textual_global(local, tokens.mask)}
        return TextCode(local, tokens.mask, parts=parts)

    def compare(self, images: ImageCode, texts: TextCode) -> PairNodes:
        """Return the nodes of every pair, [s_g; s_1 … s_L] by default, and the attention behind them (Eq. 1-4)."""
        nodes: list[Tensor] = []
        masks: list[Tensor] = []
        attention = None
        if self.config.nodes != "local":
            overall = self.global_similarity(images.parts["global"][:, :, None], texts.parts["global"][:, None])
            nodes.append(overall.unsqueeze(-2))
            masks.append(torch.ones_like(texts.mask[:, None, :, :1]))
        if self.config.nodes != "global":
            local, mask, attention = local_nodes(
                self.local_similarity, images, texts, self.config.smooth, self.config.attention
            )
            nodes.append(local)
            masks.append(mask)
        rows = torch.broadcast_shapes(*(mask.shape[:-1] for mask in masks))
        mask = torch.cat([mask.expand(*rows, -1) for mask in masks], dim=-1)
        return PairNodes(torch.cat(nodes, dim=-2), mask, attention)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group."""
        return self.read(self.compare(images, texts))

    @abstractmethod
    def fast_read_outs(self, dtype: torch.dtype) -> list[ReadOut]:
        """Return the fast forms of the read-out of scores from nodes; an empty list where there is none."""

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `fast/sgraf.py`, or the model itself where there is none (cosines)."""
        read_outs = self.fast_read_outs(DTYPES[precision])
        return FastSGRAF(self, read_outs, precision) if read_outs else self

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair: each real word's weights of the regions, and the word's significance.

        See `weights_of_words`. Without local nodes no word is compared with a region: its weights are even, and all
        significance is the global node's.
        """
        pairs = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        score, shares = self.read(pairs).reshape(()), self.significance(pairs)[0, 0, 0]
        words, real = int(text.mask[0].sum()), image.mask[0]
        if pairs.attention is None:
            even = (real / real.sum()).to(shares.dtype).expand(words, -1)
            return Attention(even, torch.zeros_like(even[:, 0]), score)
        shares = shares if self.config.nodes == "local" else shares[1:]
        return Attention(*weights_of_words(pairs.attention[0, 0, 0], shares, real, words, self.config.attention), score)


@MODELS.register("sgr")
class SGR(SGRAF):
    """Similarity graph reasoning: messages between all nodes; the global node is read.

    Without a global node (`nodes: local`) the local ones are averaged after the last step.
    """

    Config = SGRConfig
    paper = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021 (SGR)"
    config: SGRConfig

    def build_reading(self, sim: int) -> None:
        """Build the reasoning steps and the linear read-out."""
        self.reasoning = GraphReasoning(sim, self.config.steps, "mean" if self.config.nodes == "local" else "first")
        self.to_score = nn.Linear(sim, 1)

    def dead_parameters(self) -> dict[str, str]:
        """Add the local similarity where no step passes local nodes on to the global one, which is read."""
        dead = super().dead_parameters()
        if self.config.nodes == "both" and not self.config.steps:
            unread = "no step passes local nodes on to the global one, which is read"
            dead |= {f"local_similarity.project.{part}": unread for part in ("weight", "bias")}
        return dead

    def aggregate(self, pairs: PairNodes) -> Float[Tensor, "group img txt sim"]:
        """Return the similarity vector of each pair after all steps."""
        return self.reasoning(pairs.nodes, pairs.mask)

    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the sigmoid of a linear layer on the pair's similarity vector."""
        return logit_probability(self.to_score(self.aggregate(pairs)))

    def fast_read_outs(self, dtype: torch.dtype) -> list[ReadOut]:
        """Return the reasoning with merged edge layers."""
        return [FastReasoning(self.reasoning, self.to_score, dtype)]

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return the last step's edges to the node that is read; without steps, all weight is on that node."""
        return self.reasoning.significance(pairs.nodes, pairs.mask)


@MODELS.register("saf")
class SAF(SGRAF):
    """Similarity attention filtration: the nodes are summed with attention weights."""

    Config = SAFConfig
    paper = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021 (SAF)"
    config: SAFConfig

    def build_reading(self, sim: int) -> None:
        """Build the filtration and the linear read-out."""
        self.filtration = AttentionFiltration(sim, self.config.attention_statistics)
        self.to_score = nn.Linear(sim, 1)

    @property
    def splits(self) -> Splits:
        """Per caption, or not at all, by the batch norm's statistics."""
        return splits_of_statistics(self.config.attention_statistics)

    def aggregate(self, pairs: PairNodes) -> Float[Tensor, "group img txt sim"]:
        """Return the normalised weighted sum of the nodes."""
        return self.filtration(pairs.nodes, pairs.mask)

    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the sigmoid of a linear layer on the pair's similarity vector."""
        return logit_probability(self.to_score(self.aggregate(pairs)))

    def fast_read_outs(self, dtype: torch.dtype) -> list[ReadOut]:
        """Return the filtration with its batch norm merged."""
        return [FastFiltration(self.filtration, self.to_score, dtype)]

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return the filtration's weights."""
        return self.filtration.weights(pairs.nodes, pairs.mask)


def logit_probability(logits: Float[Tensor, "*pair 1"]) -> Float[Tensor, "*pair"]:
    """Return the sigmoid of logits (…, 1), in float32 at least."""
    return torch.sigmoid(at_least_float32(logits.squeeze(-1)))


def splits_of_statistics(statistics: AttentionStatistics) -> Splits:
    """Return the units that pairs may be split into with a batch norm over a caption's pairs, or the batch's."""
    return "caption" if statistics == "per_caption" else "whole"
