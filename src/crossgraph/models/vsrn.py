"""VSRN: visual semantic reasoning network.

Li, Zhang, Li, Li, Fu: "Visual Semantic Reasoning for Image-Text Matching", ICCV 2019.

What is unusual:
- Regions pass four layers of a complete graph with learned edges before a GRU reads them to one vector: local
  reasoning, then global. Captions get a plain GRU.
- The GRU reads the regions in the detector's order, so that the order of regions matters.
- The model is also trained to generate the caption from the regions (`captioning: attention`). That branch does not
  enter the score and is not in the published checkpoints, so that ours could not be compared with theirs: it is
  built after the authors' code and unverified. By default it is left out.
- The published code is two models: on Flickr30K the projected regions are not normalised and the vector is batch
  normalised, on COCO the other way round. And its norms run over the *regions* of a picture, for each feature,
  not over a region's features. All three are choices of the config; an imported checkpoint sets its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.ranges import Count, Probability, Size
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.caption_writer import CaptionWriter
from crossgraph.graphs.normalization import BatchNorm, l2norm, rows_of_processes, sum_over_processes
from crossgraph.graphs.region_graph import NormAxis, SemanticGraph, masked_l2norm
from crossgraph.graphs.score_parts import increments, shares_of_score
from crossgraph.graphs.sequence_readout import SequenceReadout, last_states
from crossgraph.models.base import MODELS, Batch, Inputs, Progress, RankingTerm
from crossgraph.models.independent import IndependentMatcher
from crossgraph.text.choice import TextChoice, build_text_encoder


@dataclass(frozen=True)
class VSRNConfig(TextChoice):
    """Sizes and choices; sizes are the paper's."""

    embed_size: Size = 2048  # d, regions and both vectors
    layers: Count = 4  # of the region graph
    input_norm: Literal["none", "feature", "region"] = "feature"  # published: "none" (Flickr30K), "region" (COCO)
    node_norm: NormAxis = "feature"  # after the graph; "region" = published
    read_norm: Literal["batch", "none"] = "batch"  # of the picture's vector; published: "batch" on Flickr30K alone
    captioning: Literal["none", "attention"] = "none"  # "attention" = the paper, unverified: a second loss
    captioning_size: Size = 512  # of the caption generator's states
    captioning_dropout: Probability = 0.2  # of the caption generator's inputs


@MODELS.register("vsrn")
class VSRN(IndependentMatcher):
    """Region reasoning, a GRU over the regions, a GRU over the words, and a dot product."""

    paper = "Li et al., Visual Semantic Reasoning for Image-Text Matching, ICCV 2019"
    Config = VSRNConfig
    config: VSRNConfig

    def __init__(self, config: VSRNConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        d = config.embed_size
        self.graph = nn.ModuleList(SemanticGraph(d) for _ in range(config.layers))
        self.read_regions = SequenceReadout(d)
        self.read_norm = BatchNorm(d) if config.read_norm == "batch" else nn.Identity()
        self.encode_words = build_text_encoder(config, inputs.vocabulary_size, "forward")
        if config.captioning == "attention":
            self.writer = CaptionWriter(
                d, inputs.vocabulary_size, config.word_size, config.captioning_size, config.captioning_dropout
            )

    @property
    def reads_region_order(self) -> bool:
        """True: the GRU reads the regions in their stored order."""
        return True

    def region_levels(self, regions: Regions) -> list[Tensor]:
        """Return the regions before the graph and after each of its layers, each (img, region, dim)."""
        nodes = self.project_regions(regions.features)
        if self.config.input_norm != "none":
            nodes = masked_l2norm(nodes, regions.mask, self.config.input_norm)
        levels = [nodes]
        for layer in self.graph:
            levels.append(layer(levels[-1], regions.mask))
        return levels

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: the graph's nodes as `local`, the GRU's read-out of them as `index`."""
        nodes = masked_l2norm(self.region_levels(regions)[-1], regions.mask, self.config.node_norm)
        nodes = nodes * regions.mask[..., None]
        return ImageCode(nodes, regions.mask, l2norm(self.read_norm(self.read_regions(nodes, regions.mask))))

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: the GRU's states as `local`, the last of them, normalised, as `index`."""
        states = self.encode_words(tokens)
        return TextCode(states, tokens.mask, l2norm(last_states(states, tokens.lengths)))

    def losses(
        self, images: ImageCode, texts: TextCode, batch: Batch, ranking: RankingTerm, progress: Progress
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the ranking loss, and with captioning "captioning": −log p of the captions, a mean over pairs."""
        terms = super().losses(images, texts, batch, ranking, progress)
        if self.config.captioning == "attention":
            first, pairs = rows_of_processes(len(texts), images.local.device)
            own = images.select(slice(first, first + len(texts)))
            terms["captioning"] = sum_over_processes(self.writer(own.local, own.mask, batch.tokens)) / pairs
        return terms

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by leaving regions out and by the words' parts in the score, without negative parts.

        A region's part is the change of the picture's vector when the GRU skips the region's node. A word's part is
        the change it made in the caption's vector when the GRU read it. Words' parts add up to the score; regions'
        parts do not, since the GRU reads the others differently without one.
        """
        real = image.mask[0]
        others = real & ~torch.diag(real)
        whole = l2norm(self.read_norm(self.read_regions(image.local, image.mask)))
        without = l2norm(self.read_norm(self.read_regions(image.local.expand(len(real), -1, -1), others)))
        regions = whole - without * others.any(dim=1, keepdim=True)
        words = increments(l2norm(text.local[0, : int(text.mask[0].sum())]))
        weights, significance = shares_of_score(regions, words, real, whole[0])
        return Attention(weights, significance, self.score_block(image, text).reshape(()))
