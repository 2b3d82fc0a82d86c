"""GSMN: graph structured matching network.

Liu, Mao, Zhang, Liu, Zhang, Zhang: "Graph Structured Network for Image-Text Matching", CVPR 2020, arXiv 2004.00277.

What is unusual:
- A fragment and its attended context are compared by blocks of channels: 16 cosines instead of one (a similarity
  vector).
- The released code is *not* the paper's graph: it uses each node's own vector in place of its neighbours', so that no
  messages pass. A caption's grammar has no effect at all; boxes act through eight numbers a region. That is
  `messages: none`, which published weights need. "dense" and "sparse" pass messages as the paper describes them;
  they are ours and untested against published weights.
- The authors' loader divides boxes by the picture's size again at every access, so that they vanish while training.
  `boxes: zero` is the limit of that; "given" reads them unchanged.
- A score has no bounds and may be negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import Positive, Size
from crossgraph.core.types import ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.attend import (
    Comparison,
    Fragments,
    affinities,
    as_regions,
    as_words,
    attend,
    attended_contexts,
    cosine,
)
from crossgraph.graphs.initialisation import xavier
from crossgraph.graphs.normalization import l1norm, masked_softmax
from crossgraph.graphs.word_graph import neighbours
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.form import Precision, Scorer
from crossgraph.models.fast.gsmn import FastGSMN
from crossgraph.models.fragments import BidirectionalMatcher, FragmentConfig

KERNELS = 8
_SMALLEST = 1e-14  # added to a kernel's variance, as published


@dataclass(frozen=True)
class GSMNConfig(FragmentConfig):
    """GSMN's choices; the defaults compute what the released code does."""

    smooth: Positive = 20.0  # λ of both attentions; published: 20 for Flickr30K, 10 for COCO
    sim_size: Size = 16  # blocks of channels, compared by a cosine each; divides embed_size
    hidden_size: Size = 32  # of a node behind the graph layer; a multiple of its 8 kernels
    messages: Literal["none", "dense", "sparse"] = "none"  # between nodes; "sparse": along grammar, or to the next word
    boxes: Literal["given", "zero"] = "given"  # "zero": all boxes are empty, the limit of published training

    def __post_init__(self) -> None:
        """Refuse values outside their range; see `TextChoice`.

        Raises:
            InputError: Sizes that do not divide each other, or grammar with word pieces.
        """
        super().__post_init__()
        if self.messages == "sparse" and self.text_encoder == "transformer":
            raise InputError(
                "model.config.messages 'sparse' with a text model: grammar joins words, and it reads pieces of words",
                "set messages to 'dense' or 'none', or leave --text-model out",
            )
        for name, size, parts in (("embed_size", "sim_size", self.sim_size), ("hidden_size", "kernels", KERNELS)):
            if getattr(self, name) % parts:
                raise InputError(
                    f"model.config.{name} is {getattr(self, name)}, not a multiple of {parts} ({size})", "change one"
                )


class BoxKernels(nn.Module):
    """Gaussian kernels of the relative position of two regions (Eq. 5-6): w_ijk, which sums to 1 over k."""

    def __init__(self) -> None:
        super().__init__()
        self.mean_rho = nn.Parameter(torch.rand(KERNELS))
        self.mean_theta = nn.Parameter((2 * torch.rand(KERNELS) - 1) * torch.pi)
        self.precision_rho = nn.Parameter(torch.rand(KERNELS))  # a standard deviation, whatever its name
        self.precision_theta = nn.Parameter(torch.rand(KERNELS))

    @staticmethod
    def polar(boxes: Float[Tensor, "n region 4"]) -> Float[Tensor, "n region region 2"]:
        """Return ρ and θ = atan2(Δx, Δy) of centre i minus centre j."""
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        x, y = (centres[:, :, None] - centres[:, None, :]).unbind(dim=-1)
        return torch.stack([torch.sqrt(x**2 + y**2), torch.atan2(x, y)], dim=-1)

    def forward(self, boxes: Float[Tensor, "n region 4"]) -> Float[Tensor, "n region region kernel"]:
        """Return w as the softmax of the exponents, which cannot divide 0 by 0 where all kernels vanish."""
        rho, theta = self.polar(boxes).unsqueeze(-2).unbind(dim=-1)
        angle = (theta - self.mean_theta).abs()
        angle = torch.minimum(angle, (2 * torch.pi - angle).abs())
        far = (rho - self.mean_rho) ** 2 / (_SMALLEST + self.precision_rho**2)
        far = far + angle**2 / (_SMALLEST + self.precision_theta**2)
        return (-far / 2).softmax(dim=-1)


class NodeScore(nn.Module):
    """Score of a node, o₂(tanh(o₁(h))), by weight-normalised layers."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = parametrizations.weight_norm(nn.Linear(hidden, hidden))
        self.out = parametrizations.weight_norm(nn.Linear(hidden, 1))

    def forward(self, nodes: Float[Tensor, "*pair node hidden"]) -> Float[Tensor, "*pair node"]:
        """Return the score of every node."""
        return self.out(torch.tanh(self.hidden(nodes))).squeeze(-1)

    def dead_parameters(self) -> dict[str, str]:
        """Return the parameters that never learn."""
        return {"out.bias": "the same for all scores of a ranking"}


@dataclass(frozen=True)
class GraphSide(Comparison):
    """The nodes of one side, each a fragment and its attended context; `similarity` is each node's score.

    Attributes:
        blocks: m, the cosines of the blocks.
        nodes: h, after the graph layer.
    """

    blocks: Float[Tensor, "group img txt query block"]
    nodes: Float[Tensor, "group img txt query hidden"]


@MODELS.register("gsmn")
class GSMN(BidirectionalMatcher):
    """Node matching by blocks of channels, a graph layer on each side, and a score of every node."""

    Config = GSMNConfig
    paper = "Liu et al., Graph Structured Network for Image-Text Matching, CVPR 2020"
    word_axes: ClassVar[Mapping[str, tuple[int, ...]]] = {"edges": (1, 2)}
    config: GSMNConfig

    def __init__(self, config: GSMNConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self.kernels = BoxKernels()
        self.visual_graph = xavier(nn.Linear(config.sim_size, config.hidden_size, bias=False))  # 8 kernels' A_k
        self.textual_graph = xavier(nn.Linear(config.sim_size, config.hidden_size))
        self.visual_score = NodeScore(config.hidden_size)
        self.textual_score = NodeScore(config.hidden_size)

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings, and part "kernels": w_ij summed over j, or w itself for messages.

        Raises:
            InputError: The model reads boxes, and the regions have none.
        """
        code = super().encode_images(regions)
        boxes = regions.boxes
        if self.config.boxes == "zero":
            boxes = regions.features.new_zeros(*regions.features.shape[:2], 4)
        if boxes is None:
            raise InputError(
                "this GSMN reads where regions lie, and these have no boxes",
                "give features with boxes, or take a model with model.config.boxes zero",
            )
        weights = self.kernels(boxes.to(regions.features.dtype)) * regions.mask[:, None, :, None]
        if self.config.messages == "none":
            weights = weights.sum(dim=2)
        return ImageCode(code.local, code.mask, parts={"kernels": weights})

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: word embeddings, and for messages part "edges": e_jl, which sums to 1 over l.

        e_jl = softmax_l(λ u_j · u_l) over all words ("dense") or over a word and its neighbours ("sparse").
        """
        code = super().encode_texts(tokens)
        if self.config.messages == "none":
            return code
        edges = masked_softmax(self.config.smooth * code.local @ code.local.mT, tokens.mask[:, None])
        if self.config.messages == "sparse":
            edges = l1norm(edges * neighbours(tokens, "chain"))
        return TextCode(code.local, code.mask, parts={"edges": edges})

    def compare(self, images: ImageCode, texts: TextCode) -> dict[str, GraphSide]:
        """Return the nodes of words ("t2i") and of regions ("i2t")."""
        words, regions = as_words(texts), as_regions(images)
        affinity = affinities(words, regions)
        weights = attend(affinity, words, regions, self.config.smooth)
        blocks = self._blocks(weights, words, regions)
        nodes = self.textual_graph(self._pass_to_words(blocks, texts))
        textual = GraphSide(weights, self.textual_score(nodes), words.mask, blocks, nodes)

        weights = attend(affinity.transpose(-1, -2), regions, words, self.config.smooth)
        blocks = self._blocks(weights, regions, words)
        nodes = self._pass_to_regions(self.visual_graph(blocks).unflatten(-1, (KERNELS, -1)), images)
        visual = GraphSide(weights, self.visual_score(nodes), regions.mask, blocks, nodes)
        return {"t2i": textual, "i2t": visual}

    def _blocks(self, weights: Tensor, queries: Fragments, contexts: Fragments) -> Tensor:
        """Return the cosines of every query and its attended context, block by block (Eq. 3)."""
        parts = (self.config.sim_size, -1)
        attended = attended_contexts(weights, contexts).unflatten(-1, parts)
        return cosine(queries.vectors.unflatten(-1, parts), attended)

    def _pass_to_words(self, blocks: Tensor, texts: TextCode) -> Tensor:
        """Return the words' blocks after messages from their neighbours; unchanged without messages."""
        if self.config.messages == "none":
            return blocks
        return torch.einsum("gbjl,gablm->gabjm", texts.parts["edges"].to(blocks.dtype), blocks)

    def _pass_to_regions(self, kernels: Tensor, images: ImageCode) -> Tensor:
        """Return the regions' nodes after messages weighed by the kernels; without messages each region's own."""
        weights = images.parts["kernels"].to(kernels.dtype)
        if self.config.messages == "none":
            return (kernels * weights[:, :, None, :, :, None]).flatten(-2)
        return torch.einsum("gaijk,gabjkh->gabikh", weights, kernels).flatten(-2)

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `fast/gsmn.py`."""
        return FastGSMN(self, precision)
