"""GSMN: graph structured matching network.

Liu, Mao, Zhang, Liu, Zhang, Zhang: "Graph Structured Network for Image-Text Matching", CVPR 2020, arXiv 2004.00277.

What is unusual:
- A fragment and what it saw are compared by blocks of channels: 16 cosines instead of one (a similarity vector).
- The released code is *not* the paper's graph: each node's own vector stands where its neighbours' should, so that
  no message passes. A caption's grammar has no effect at all; boxes act through eight numbers a region. That is
  `messages: none`, which published weights need. "dense" and "sparse" pass messages as the paper describes them;
  they are ours and untested against published weights.
- The authors' loader divides boxes by the picture's size again at every access, so that they vanish while training.
  `boxes: zero` is where that ends; "given" reads them as they are.
- A score has no bounds and may be negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.attend import (
    Fragments,
    affinities,
    aggregate,
    as_regions,
    as_words,
    attend,
    contexts_seen,
    cosine,
    importance,
)
from crossgraph.graphs.normalization import l1norm, masked_softmax
from crossgraph.graphs.word_graph import neighbours
from crossgraph.models.base import MODELS, Inputs, Scorer
from crossgraph.models.folded import Precision
from crossgraph.models.fragments import FragmentConfig, FragmentMatcher, Look, above_zero, at_least, explain, xavier
from crossgraph.models.gsmn_folded import FoldedGSMN

KERNELS = 8
_SMALLEST = 1e-14  # added to a kernel's variance, as published


@dataclass(frozen=True)
class GSMNConfig(FragmentConfig):
    """GSMN's choices; the defaults compute what the released code does."""

    smooth: float = 20.0  # λ of both attentions; published: 20 for Flickr30K, 10 for COCO
    sim_size: int = 16  # blocks of channels that are compared, a cosine each; divides embed_size
    hidden_size: int = 32  # of a node behind the graph layer; a multiple of its 8 kernels
    messages: Literal["none", "dense", "sparse"] = "none"  # between nodes; "sparse": along grammar, or to the next word
    boxes: Literal["given", "zero"] = "given"  # "zero": every box is nothing, what published training ends in

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size below 1, λ not above 0, sizes that do not divide each other, or grammar of pieces.
        """
        super().__post_init__()
        at_least(self, 1, "sim_size", "hidden_size")
        above_zero(self, "smooth")
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
    """Gaussian kernels on where one region lies from another (Eq. 5-6): w_ijk, which sums to 1 over k."""

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
        """Return w; the softmax of the exponents, which cannot divide 0 by 0 where all kernels vanish."""
        rho, theta = self.polar(boxes).unsqueeze(-2).unbind(dim=-1)
        angle = (theta - self.mean_theta).abs()
        angle = torch.minimum(angle, (2 * torch.pi - angle).abs())
        far = (rho - self.mean_rho) ** 2 / (_SMALLEST + self.precision_rho**2)
        far = far + angle**2 / (_SMALLEST + self.precision_theta**2)
        return (-far / 2).softmax(dim=-1)


class NodeScore(nn.Module):
    """o₂(tanh(o₁(h))): a number from each node, by weight-normalised layers."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = parametrizations.weight_norm(nn.Linear(hidden, hidden))
        self.out = parametrizations.weight_norm(nn.Linear(hidden, 1))

    def forward(self, nodes: Float[Tensor, "*pair node hidden"]) -> Float[Tensor, "*pair node"]:
        """Score every node."""
        return self.out(torch.tanh(self.hidden(nodes))).squeeze(-1)


@dataclass(frozen=True)
class GraphSide:
    """The nodes of one side: a word or region and what it saw.

    Attributes:
        weights: What each query looked at.
        blocks: m, the cosines of the blocks.
        nodes: h, behind the graph layer.
        likeness: Each node's number.
        mask: True where a node is real.
    """

    weights: Float[Tensor, "group img txt query context"]
    blocks: Float[Tensor, "group img txt query block"]
    nodes: Float[Tensor, "group img txt query hidden"]
    likeness: Float[Tensor, "group img txt query"]
    mask: Bool[Tensor, "group #img #txt query"]

    @property
    def score(self) -> Float[Tensor, "group img txt"]:
        """The mean over the nodes."""
        return aggregate(self.likeness, self.mask, "mean")

    def look(self) -> Look:
        """Return the first pair's attention, to be explained."""
        return Look(self.weights[0, 0, 0], importance(self.likeness[0, 0, 0], self.mask[0, 0, 0], "mean"))


@MODELS.register("gsmn")
class GSMN(FragmentMatcher):
    """Matching of nodes by blocks, a graph layer on either side, a number from every node."""

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

    def dead_parameters(self) -> dict[str, str]:
        """Add the last biases, which move all scores alike."""
        return super().dead_parameters() | dict.fromkeys(
            ("visual_score.out.bias", "textual_score.out.bias"), "the same for all scores of a ranking"
        )

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings, and part "kernels": w_ij summed over j, or w itself for messages.

        Raises:
            InputError: Boxes are to be read, and there are none.
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
        nodes = self.textual_graph(self._to_words(blocks, texts))
        textual = GraphSide(weights, blocks, nodes, self.textual_score(nodes), words.mask)

        weights = attend(affinity.transpose(-1, -2), regions, words, self.config.smooth)
        blocks = self._blocks(weights, regions, words)
        nodes = self._to_regions(self.visual_graph(blocks).unflatten(-1, (KERNELS, -1)), images)
        visual = GraphSide(weights, blocks, nodes, self.visual_score(nodes), regions.mask)
        return {"t2i": textual, "i2t": visual}

    def _blocks(self, weights: Tensor, queries: Fragments, contexts: Fragments) -> Tensor:
        """Compare every query with what it saw, block by block (Eq. 3)."""
        parts = (self.config.sim_size, -1)
        seen = contexts_seen(weights, contexts).unflatten(-1, parts)
        return cosine(queries.vectors.unflatten(-1, parts), seen)

    def _to_words(self, blocks: Tensor, texts: TextCode) -> Tensor:
        """Let words take from their neighbours; without messages each keeps its own."""
        if self.config.messages == "none":
            return blocks
        return torch.einsum("gbjl,gablm->gabjm", texts.parts["edges"].to(blocks.dtype), blocks)

    def _to_regions(self, kernels: Tensor, images: ImageCode) -> Tensor:
        """Let regions take from all others by their kernels' weights; without messages each from itself."""
        weights = images.parts["kernels"].to(kernels.dtype)
        if self.config.messages == "none":
            return (kernels * weights[:, :, None, :, :, None]).flatten(-2)
        return torch.einsum("gaijk,gabjkh->gabikh", weights, kernels).flatten(-2)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group: the sum of both sides' means."""
        sides = self.compare(images, texts)
        return sides["t2i"].score + sides["i2t"].score

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `gsmn_folded.py`."""
        return FoldedGSMN(self, precision)

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by both directions' attention: their mean, see `explain`."""
        sides = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        score = sides["t2i"].score + sides["i2t"].score
        return explain(image, text, score, t2i=sides["t2i"].look(), i2t=sides["i2t"].look())
