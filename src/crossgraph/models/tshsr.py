"""TSHSR: two-stream hierarchical similarity reasoning. A RE-INTERPRETATION, built from the paper's abstract alone.

"Two-Stream Hierarchical Similarity Reasoning for Image-text Matching", arXiv 2203.05349, 2022. Its equations, sizes,
code and numbers were not available to us. The abstract states: similarity reasoning on several levels, where context is
extracted automatically and used together with local interaction; picture-to-text and text-to-picture similarity as two
streams; training end to end. Everything more exact than that is OUR design, on SGRAF's parts, and none of the paper's
numbers may be claimed for it.

What is unusual:
- Two streams over the same encoders, each with similarity weights and reasoning of its own: words attend to regions
  (t2i, a node a word), and regions attend to words (i2t, a node a region). Both have a global node.
- A message is added to the node instead of replacing it. With SGR's step (`interaction: replace`) the nodes of an
  untrained model agree to many digits after one level, so that higher levels have nothing to distinguish; the dev
  split, too, favours adding (one seed, see docs/models/tshsr.md).
- Each level pools its nodes into context nodes (8, then 4, then 2), from which all nodes get gated messages.
- The similarity vector of a stream is read from every level, not from the last one alone.
- The score is the mean of the streams' scores; in training the mean and each stream have a ranking loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import NotNegative, Probability, Size
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.attend import AttentionDirection
from crossgraph.graphs.initialisation import xavier_layers
from crossgraph.graphs.normalization import l2norm
from crossgraph.graphs.pooling import TextualSelfAttention, VisualSelfAttention
from crossgraph.graphs.similarity_graph import SimilarityVector
from crossgraph.graphs.similarity_hierarchy import HierarchicalReasoning, Interaction
from crossgraph.models.base import MODELS, Batch, Inputs, Matcher, Progress, RankingTerm
from crossgraph.models.fast.form import Precision, Scorer
from crossgraph.models.fast.tshsr import FastTSHSR
from crossgraph.models.sgraf import PairNodes, local_nodes, logit_probability, weights_of_words
from crossgraph.text.choice import TextChoice, build_text_encoder
from crossgraph.text.encoder import Direction


@dataclass(frozen=True)
class TSHSRConfig(TextChoice):
    """Sizes and choices; all are ours, those of the encoders as SGRAF's."""

    sim_size: Size = 256  # m, similarity vectors
    text_direction: Direction = "both"  # Bi-GRU, or one direction
    smooth: float = 9.0  # λ of the attention
    dropout: Probability = 0.4  # of word embeddings and of both self-attentions
    streams: Literal["both", "t2i", "i2t"] = "both"
    levels: Size = 3  # of reasoning
    context_nodes: Size = 8  # of the first level; each next one has half as many, at least 1
    interaction: Interaction = "add"  # "replace": SGR's step, which makes untrained nodes nearly equal
    fusion: Literal["mean", "learned"] = "mean"  # of the streams' scores; "learned": one convex weight
    stream_weight: NotNegative = 1.0  # of each stream's own loss beside the fused one's; 0 omits them

    def __post_init__(self) -> None:
        """Refuse values outside their range; see `TextChoice`.

        Raises:
            InputError: A learned fusion of one stream.
        """
        super().__post_init__()
        if self.streams != "both" and self.fusion == "learned":
            raise InputError(
                f"model.config.fusion 'learned' with model.config.streams '{self.streams}': one stream needs no weight",
                "set fusion to 'mean', or streams to 'both'",
            )


class Stream(nn.Module):
    """One direction of attention: its similarity nodes, their reasoning, and a score."""

    def __init__(self, name: AttentionDirection, config: TSHSRConfig) -> None:
        super().__init__()
        self.name: AttentionDirection = name
        self.smooth = config.smooth
        d, m = config.embed_size, config.sim_size
        self.local_similarity = SimilarityVector(d, m)
        self.global_similarity = SimilarityVector(d, m)
        contexts = [max(1, config.context_nodes >> level) for level in range(config.levels)]
        self.reasoning = HierarchicalReasoning(m, contexts, config.interaction)
        self.to_score = nn.Linear(m, 1)

    def compare(self, images: ImageCode, texts: TextCode) -> PairNodes:
        """Return the nodes of every pair: the global one, then one a word (t2i) or a region (i2t)."""
        local, mask, attention = local_nodes(self.local_similarity, images, texts, self.smooth, self.name)
        overall = self.global_similarity(images.parts["global"][:, :, None], texts.parts["global"][:, None])
        mask = torch.cat([torch.ones_like(mask[..., :1]), mask], dim=-1)
        return PairNodes(torch.cat([overall.unsqueeze(-2), local], dim=-2), mask, attention)

    def read(self, pairs: PairNodes) -> Float[Tensor, "group img txt"]:
        """Return the sigmoid of a linear reading of each pair's similarity vector."""
        return logit_probability(self.to_score(self.reasoning(pairs.nodes, pairs.mask)))

    def explain(self, image: ImageCode, text: TextCode) -> tuple[Float[Tensor, "word region"], Float[Tensor, " word"]]:
        """Return the words' weights of the regions and their significance, of one pair of grouped codes."""
        pairs = self.compare(image, text)
        assert pairs.attention is not None
        shares = self.reasoning.significance(pairs.nodes, pairs.mask)[0, 0, 0, 1:]
        return weights_of_words(pairs.attention[0, 0, 0], shares, image.mask[0, 0], int(text.mask.sum()), self.name)


@MODELS.register("tshsr")
class TSHSR(Matcher):
    """A re-interpretation of an abstract: reasoning over two streams of similarity nodes."""

    kind = "interaction"
    status = "re-interpretation"
    paper = (
        "Two-Stream Hierarchical Similarity Reasoning for Image-text Matching, arXiv 2203.05349, 2022 "
        "(re-interpreted: only the abstract could be had)"
    )
    Config = TSHSRConfig
    config: TSHSRConfig

    def __init__(self, config: TSHSRConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        d = config.embed_size
        self.project_regions = nn.Linear(inputs.feature_size, d)
        self.encode_words = build_text_encoder(config, inputs.vocabulary_size, config.text_direction, config.dropout)
        self.visual_global = VisualSelfAttention(d, config.dropout, "feature", None)
        self.textual_global = TextualSelfAttention(d, config.dropout)
        names: tuple[AttentionDirection, ...] = ("t2i", "i2t") if config.streams == "both" else (config.streams,)
        self.streams = nn.ModuleDict({name: Stream(name, config) for name in names})
        if config.fusion == "learned":
            self.fusion = nn.Parameter(torch.zeros(()))  # the sigmoid is t2i's weight
        xavier_layers(self)

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings, and the global vector v* as part "global"."""
        local = l2norm(self.project_regions(regions.features))
        return ImageCode(local, regions.mask, parts={"global": self.visual_global(local, regions.mask)})

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: contextual word embeddings, and the global vector t* as part "global"."""
        local = l2norm(self.encode_words(tokens))
        return TextCode(local, tokens.mask, parts={"global": self.textual_global(local, tokens.mask)})

    def score_maps(self, images: ImageCode, texts: TextCode) -> dict[str, Float[Tensor, "group img txt"]]:
        """Return each stream's scores of grouped codes, for a loss each."""
        return {name: stream.read(stream.compare(images, texts)) for name, stream in self.named_streams.items()}

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group: the mean of the streams."""
        return self._fuse(self.score_maps(images, texts))

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `fast/tshsr.py`."""
        return FastTSHSR(self, precision)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by the mean of the two streams' explanations, weighed as their scores are.

        A stream's weights are its attention, as weights of each word; its significance is the nodes' weights on all
        levels (`HierarchicalReasoning.significance`), of which the global node has the rest. The score is not a sum of
        these: reasoning is between them.
        """
        grouped = image.map(lambda t: t[None]), text.map(lambda t: t[None])
        explained = {name: stream.explain(*grouped) for name, stream in self.named_streams.items()}
        weights = {name: weights for name, (weights, _) in explained.items()}
        significance = {name: shares for name, (_, shares) in explained.items()}
        score = self.pair_scores(*grouped).reshape(())
        return Attention(self._fuse(weights), self._fuse(significance), score)

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the ranking loss of the fused score, and of each stream as "ranking_t2i" and "ranking_i2t"."""
        scores = self.training_maps(images, texts)
        terms = {"ranking": ranking(self._fuse(scores))}
        if len(scores) > 1 and self.config.stream_weight:
            for name, own in scores.items():
                terms[f"ranking_{name}"] = self.config.stream_weight * ranking(own)
        return terms

    def _fuse(self, of_streams: Mapping[str, Float[Tensor, "..."]]) -> Float[Tensor, "..."]:
        """Return the mean over the streams, by the learned weight where there is one."""
        if self.config.fusion == "mean":
            return torch.stack(list(of_streams.values())).mean(dim=0)
        share = torch.sigmoid(self.fusion)
        return share * of_streams["t2i"] + (1 - share) * of_streams["i2t"]

    @property
    def named_streams(self) -> dict[str, Stream]:
        """The streams by their names."""
        return cast("dict[str, Stream]", dict(self.streams.items()))
