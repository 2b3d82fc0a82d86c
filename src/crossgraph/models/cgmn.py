"""CGMN: cross-modal graph matching network.

Cheng, Zhu, Qian, Wen, Liu: "Cross-modal Graph Matching Network for Image-text Retrieval", ACM TOMM 2022.

What is unusual:
- Regions and words never meet in the score: each side reasons over its own graph, a GRU reads the nodes, and
  the score is a dot product, so that a gallery is indexed once.
- They meet in training alone: a second loss matches the *nodes*, each word with its most similar region.
- A picture has two graphs from the same nodes, a learned one and one over boxes that overlap; a caption's graph
  has the edges of its grammar.
- The GRU reads the regions in the detector's order, so that the order of regions matters.

Where the authors' code differs from the paper's intention, the config has a choice with the intention as default:
`region_norm` and `edge_weight`; their weights need theirs. `node_scores` is theirs as a loss; using it to score
pairs too, say to re-rank a short list, is our idea, not the paper's.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import Count, NotNegative, Size
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.normalization import BatchNorm, at_least_float32, l2norm, masked_mean, masked_softmax
from crossgraph.graphs.region_graph import (
    BatchStatistics,
    EdgeGraph,
    EdgeWeight,
    NormAxis,
    SemanticGraph,
    edge_weights,
    masked_l2norm,
    overlap,
)
from crossgraph.graphs.sequence_readout import SequenceReadout
from crossgraph.graphs.word_graph import WithoutEdges, neighbours
from crossgraph.models.base import MODELS, Batch, Inputs, PrescribedHinge, Progress, RankingTerm
from crossgraph.models.independent import IndependentMatcher
from crossgraph.text.choice import TextChoice, build_text_encoder

OVERLAP = 0.4  # boxes whose intersection over union reaches it are neighbours
SMOOTH = 9.0  # ours, of the alignment alone: cosines to shares


@dataclass(frozen=True)
class CGMNConfig(TextChoice):
    """Sizes and choices; sizes are the paper's."""

    embed_size: Size = 2048  # d, nodes and index vectors
    semantic_layers: Count = 4  # of the learned region graph
    spatial_layers: Count = 0  # of the graph of overlapping boxes: published code has 2 and leaves them out by default
    without_edges: WithoutEdges = "chain"  # the word graph of captions that come without dependency edges
    read_out: Literal["gru", "mean"] = "gru"  # of the regions; "mean" is ours and takes them in any order
    region_norm: NormAxis = "feature"  # "region" = published: each feature over the picture's regions
    edge_weight: EdgeWeight = "cosine"  # "published" = ⟨x_i, x_j⟩ / ‖x_j‖²
    batch_statistics: BatchStatistics = "real"  # "published": padding words enter the word graph's, in training
    matching_weight: NotNegative = 1 / 3  # of the node matching loss; 0 leaves it out
    matching_margin: NotNegative = 0.2


@MODELS.register("cgmn")
class CGMN(IndependentMatcher):
    """Region graphs, a word graph, and one vector a side."""

    paper = "Cheng et al., Cross-modal Graph Matching Network for Image-text Retrieval, ACM TOMM 2022"
    Config = CGMNConfig
    config: CGMNConfig

    def __init__(self, config: CGMNConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        d = config.embed_size
        self.semantic = nn.ModuleList(SemanticGraph(d) for _ in range(config.semantic_layers))
        self.spatial = nn.ModuleList(EdgeGraph(d) for _ in range(config.spatial_layers))
        if config.read_out == "gru":
            self.read_regions = SequenceReadout(d)
        self.image_norm = BatchNorm(d)
        self.encode_words = build_text_encoder(config, inputs.vocabulary_size, "both")
        self.word_graph = EdgeGraph(d, config.batch_statistics)
        self.read_words = SequenceReadout(d)

    @property
    def reads_word_edges(self) -> bool:
        """Whether dependency edges make the word graph: they join words, and word pieces have none."""
        return self.config.text_encoder == "gru"

    @property
    def reads_region_order(self) -> bool:
        """Whether the order of regions changes the score."""
        return self.config.read_out == "gru"

    def region_nodes(self, regions: Regions) -> Float[Tensor, "img region dim"]:
        """Return the regions after their graphs; padding is zero.

        Raises:
            InputError: The spatial graph is on, and the regions have no boxes.
        """
        mask, axis = regions.mask, self.config.region_norm
        embeddings = masked_l2norm(self.project_regions(regions.features), mask, axis)
        nodes = embeddings
        for layer in self.semantic:
            nodes = layer(nodes, mask)
        if len(self.spatial):
            if regions.boxes is None:
                raise InputError(
                    "this CGMN has a graph of overlapping boxes, and these regions have none",
                    "give features with boxes, or take a model with model.config.spatial_layers 0",
                )
            near = overlap(regions.boxes, mask) >= OVERLAP
            edges = edge_weights(embeddings, self.config.edge_weight) * near
            spatial = embeddings
            for layer in self.spatial:
                spatial = layer(spatial, edges, mask)
            nodes = masked_l2norm((nodes + spatial) / 2, mask, axis)
        return nodes * mask[..., None]

    def word_nodes(self, tokens: Tokens) -> Float[Tensor, "txt word dim"]:
        """Return the words after their graph; padding is zero."""
        if not self.reads_word_edges:
            tokens = dataclasses.replace(tokens, edges=None)
        words = self.encode_words(tokens)
        edges = neighbours(tokens, self.config.without_edges) * edge_weights(words, self.config.edge_weight)
        return self.word_graph(words, edges, tokens.mask) * tokens.mask[..., None]

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: the graphs' nodes as `local`, their read-out as `index`."""
        nodes = self.region_nodes(regions)
        if self.config.read_out == "gru":
            overall = self.read_regions(nodes, regions.mask)
        else:
            overall = masked_mean(nodes, regions.mask)
        return ImageCode(nodes, regions.mask, l2norm(self.image_norm(overall)))

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions likewise."""
        nodes = self.word_nodes(tokens)
        return TextCode(nodes, tokens.mask, l2norm(self.read_words(nodes, tokens.mask)))

    def node_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Return Σ_j max_i cos(v_i, w_j), each word's cosine with its most similar region (late interaction).

        The paper trains with it and never scores with it; re-ranking a short list by it is ours. It is a sum: it
        ranks pictures for one caption, and favours long captions for one picture.

        Args:
            images: Grouped codes, `local` (g, a, R, d).
            texts: Grouped codes, `local` (g, b, L, d).
        """
        return self._node_cosines(images, texts).amax(dim=-1).mul(texts.mask[:, None]).sum(dim=-1)

    def _node_cosines(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt word region"]:
        """Return the cosines of all nodes; padding regions have the smallest number."""
        (g, a, r, d), (b, n) = images.local.shape, texts.local.shape[1:3]
        regions, words = l2norm(images.local).reshape(g, a * r, d), l2norm(texts.local).reshape(g, b * n, d)
        cosines = at_least_float32(words @ regions.transpose(1, 2)).view(g, b, n, a, r).permute(0, 3, 1, 2, 4)
        return cosines.masked_fill(~images.mask[:, :, None, None], torch.finfo(cosines.dtype).min)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by its nodes, from which the score's vectors are read.

        Each word's weights are the softmax of 9 · cos(v_i, w_j) over the regions; its significance is its share of
        the node score Σ_j max_i cos(v_i, w_j), without negative parts. The 9 is ours.
        """
        cosines = self._node_cosines(image.map(lambda t: t[None]), text.map(lambda t: t[None]))[0, 0, 0]
        cosines = cosines[: int(text.mask[0].sum())]
        weights = masked_softmax(SMOOTH * cosines, image.mask[0])
        best = cosines.amax(dim=-1).clamp(min=0)
        return Attention(weights, best / best.sum().clamp(min=1e-8), self.score_block(image, text).reshape(()))

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the ranking loss, and "matching": the hinge on node scores over all negatives, times its weight."""
        terms = {"ranking": ranking(self.score_block(images, texts))}
        if self.config.matching_weight:
            nodes = self.node_scores(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]
            hinge = PrescribedHinge(self.config.matching_margin, "sum")
            terms["matching"] = self.config.matching_weight * ranking(nodes, hinge)
        return terms
