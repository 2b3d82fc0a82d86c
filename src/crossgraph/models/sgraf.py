"""SGRAF: similarity graph reasoning (SGR) and attention filtration (SAF).

Diao, Zhang, Ma, Lu: "Similarity Reasoning and Filtration for Image-Text Matching", AAAI 2021,
arXiv 2101.01368.

What is unusual:
- A pair is compared by *vectors*: each word with what it saw in the picture, and the two global vectors.
  SGR lets these vectors reason over a complete graph and reads the global node; SAF weighs and sums them.
- The affinity of words and regions is normalised over the *words*, then softmaxed over the *regions*.
- SGR and SAF are trained apart; "SGRAF" is the mean of their score matrices: two models, not one.
- The published visual attention has a batch norm over the region *index*, so published weights take
  exactly 36 regions. Ours normalises per feature and takes any number (`region_norm`).
- The published SAF normalises attention per caption while it trains (`attention_statistics`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.cross_attention import contexts_of_words, words_attend_to_regions
from crossgraph.graphs.normalization import at_least_float32, l2norm
from crossgraph.graphs.pooling import RegionNorm, TextualSelfAttention, VisualSelfAttention
from crossgraph.graphs.similarity_graph import (
    AttentionFiltration,
    AttentionStatistics,
    ReasoningStep,
    SimilarityVector,
)
from crossgraph.models.base import MODELS, Inputs, Matcher
from crossgraph.models.published import IMPORTERS, PublishedModel, linear_keys, refuse_unknown
from crossgraph.text.encoder import Direction, RecurrentTextEncoder


@dataclass(frozen=True)
class SGRAFConfig:
    """Sizes and choices that SGR and SAF share; the defaults are the paper's."""

    embed_size: int = 1024  # d, region and word embeddings
    word_size: int = 300  # learned word embeddings, before the GRU
    sim_size: int = 256  # m, similarity vectors (Table 7)
    text_direction: Direction = "both"  # Bi-GRU, or one direction
    image_norm: Literal["l2", "none"] = "l2"  # of region embeddings
    text_norm: Literal["l2", "none"] = "l2"  # of word embeddings
    region_norm: RegionNorm = "feature"  # "region" = published: a fixed number of regions
    smooth: float = 9.0  # λ of the attention
    dropout: float = 0.4  # of word embeddings and of both self-attentions

    def __post_init__(self) -> None:
        """Refuse sizes that make no model.

        Raises:
            InputError: A size below 1, or a probability outside 0..1.
        """
        for name in ("embed_size", "word_size", "sim_size"):
            if getattr(self, name) < 1:
                raise InputError(f"model.config.{name} is {getattr(self, name)}", "give a size of at least 1")
        if not 0 <= self.dropout < 1:
            raise InputError(f"model.config.dropout is {self.dropout}", "give a probability from 0 to below 1")


@dataclass(frozen=True)
class SGRConfig(SGRAFConfig):
    """SGR's own choices."""

    steps: int = 3  # of reasoning, each with its own weights (Table 3: 0 to 4)

    def __post_init__(self) -> None:
        """Refuse what makes no model; see `SGRAFConfig`."""
        super().__post_init__()
        if self.steps < 0:
            raise InputError(f"model.config.steps is {self.steps}", "give 0 or more reasoning steps")


@dataclass(frozen=True)
class SAFConfig(SGRAFConfig):
    """SAF's own choices."""

    attention_statistics: AttentionStatistics = "per_caption"  # published; "per_batch" sees all pairs at once


@dataclass(frozen=True)
class PairNodes:
    """What a block of pairs is reduced to before reasoning or filtration.

    Attributes:
        nodes: Similarity vectors; node 0 is the global one, then one per word.
        mask: True where a node is real; the same for all images.
        attention: Word-to-region weights α.
    """

    nodes: Float[Tensor, "group img txt node sim"]
    mask: Bool[Tensor, "group 1 txt node"]
    attention: Float[Tensor, "group img txt word region"]


class SGRAF(Matcher):
    """The encoders and similarity vectors that SGR and SAF share."""

    kind = "interaction"
    config: SGRAFConfig

    def __init__(self, config: SGRAFConfig, inputs: Inputs) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        d, m = config.embed_size, config.sim_size
        self.project_regions = nn.Linear(inputs.feature_size, d)
        self.encode_words = RecurrentTextEncoder(
            inputs.vocabulary_size, config.word_size, d, config.text_direction, config.dropout
        )
        self.visual_global = VisualSelfAttention(d, config.dropout, config.region_norm, inputs.regions)
        self.textual_global = TextualSelfAttention(d, config.dropout)
        self.local_similarity = SimilarityVector(d, m)
        self.global_similarity = SimilarityVector(d, m)
        self.build_aggregation(m)
        self.to_score = nn.Linear(m, 1)
        self.apply(_xavier)

    @abstractmethod
    def build_aggregation(self, sim: int) -> None:
        """Make the layers between the nodes and the similarity vector."""

    @abstractmethod
    def aggregate(self, pairs: PairNodes) -> Float[Tensor, "group img txt sim"]:
        """Reduce the nodes to one similarity vector a pair."""

    @abstractmethod
    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return how much each node counted; sums to 1 over the nodes."""

    def dead_parameters(self) -> dict[str, str]:
        """Return the biases that a batch norm or a softmax behind them takes out again."""
        dead = {
            "visual_global.summary.bias": "batch norm subtracts it",
            "visual_global.common.bias": "the same for all regions under a softmax",
            "textual_global.common.bias": "the same for all words under a softmax",
        }
        if self.config.region_norm == "feature":
            dead["visual_global.local.bias"] = "batch norm subtracts it"
        return dead

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: region embeddings, and the global vector v* as part "global"."""
        local = self.project_regions(regions.features)
        if self.config.image_norm == "l2":
            local = l2norm(local)
        return ImageCode(local, regions.mask, parts={"global": self.visual_global(local, regions.mask)})

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: contextual word embeddings, and the global vector t* as part "global"."""
        local = self.encode_words(tokens)
        if self.config.text_norm == "l2":
            local = l2norm(local)
        return TextCode(local, tokens.mask, parts={"global": self.textual_global(local, tokens.mask)})

    def compare(self, images: ImageCode, texts: TextCode) -> PairNodes:
        """Return the nodes of every pair: [s_g; s_1 … s_L], and the attention behind them (Eq. 1-4)."""
        attention = words_attend_to_regions(images.local, images.mask, texts.local, texts.mask, self.config.smooth)
        contexts = contexts_of_words(attention, images.local)
        local = self.local_similarity(contexts, texts.local[:, None])
        overall = self.global_similarity(images.parts["global"][:, :, None], texts.parts["global"][:, None])
        nodes = torch.cat([overall.unsqueeze(-2), local], dim=-2)
        mask = torch.cat([torch.ones_like(texts.mask[..., :1]), texts.mask], dim=-1)
        return PairNodes(nodes, mask[:, None], attention)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair: sigmoid of a linear reading of the pair's similarity vector."""
        vectors = self.aggregate(self.compare(images, texts))
        return torch.sigmoid(at_least_float32(self.to_score(vectors).squeeze(-1)))

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair: α over the regions for each real word, and each word's significance."""
        images, texts = image.map(lambda t: t[None]), text.map(lambda t: t[None])
        pairs = self.compare(images, texts)
        score = torch.sigmoid(at_least_float32(self.to_score(self.aggregate(pairs))))
        words = int(text.mask[0].sum())
        weights = pairs.attention[0, 0, 0, :words]
        return Attention(weights, self.significance(pairs)[0, 0, 0, 1 : words + 1], score.reshape(()))


@MODELS.register("sgr")
class SGR(SGRAF):
    """Similarity graph reasoning: every node takes from all nodes; the global node is read."""

    Config = SGRConfig
    paper = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021 (SGR)"
    config: SGRConfig

    def build_aggregation(self, sim: int) -> None:
        """Make the reasoning steps."""
        self.reasoning = nn.ModuleList([ReasoningStep(sim) for _ in range(self.config.steps)])

    def dead_parameters(self) -> dict[str, str]:
        """Add the key biases: they shift all edges of a node alike."""
        keys = {f"reasoning.{i}.key.bias": "the same for all nodes under a softmax" for i in range(self.config.steps)}
        return super().dead_parameters() | keys

    def reason(self, pairs: PairNodes) -> Float[Tensor, "group img txt node sim"]:
        """Run all steps on all nodes; `aggregate` skips what its reading does not need."""
        nodes = pairs.nodes
        for step in self.reasoning:
            nodes = step(nodes, nodes, pairs.mask)
        return nodes

    def aggregate(self, pairs: PairNodes) -> Float[Tensor, "group img txt sim"]:
        """Return the global node after the last step, which therefore updates no other node."""
        nodes = pairs.nodes
        for number, step in enumerate(self.reasoning, start=1):
            targets = nodes[..., :1, :] if number == len(self.reasoning) else nodes
            nodes = step(targets, nodes, pairs.mask)
        return nodes[..., 0, :]

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return the last step's edges from the global node; all weight on itself without steps."""
        nodes, edges = pairs.nodes, torch.zeros_like(pairs.nodes[..., 0])
        edges[..., 0] = 1
        for step in self.reasoning:
            assert isinstance(step, ReasoningStep)
            edges = step.edges(nodes[..., :1, :], nodes, pairs.mask).squeeze(-2)
            nodes = step(nodes, nodes, pairs.mask)
        return edges


@MODELS.register("saf")
class SAF(SGRAF):
    """Similarity attention filtration: each node is weighed by an attention of its own, then summed."""

    Config = SAFConfig
    paper = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021 (SAF)"
    config: SAFConfig

    def build_aggregation(self, sim: int) -> None:
        """Make the filtration."""
        self.filtration = AttentionFiltration(sim, self.config.attention_statistics)

    def dead_parameters(self) -> dict[str, str]:
        """Add the bias of the attention, which its batch norm subtracts."""
        return super().dead_parameters() | {"filtration.attend.bias": "batch norm subtracts it"}

    def aggregate(self, pairs: PairNodes) -> Float[Tensor, "group img txt sim"]:
        """Return the normalised sum of the weighed nodes."""
        return self.filtration(pairs.nodes, pairs.mask)

    def significance(self, pairs: PairNodes) -> Float[Tensor, "group img txt node"]:
        """Return the filtration's weights."""
        return self.filtration.weights(pairs.nodes, pairs.mask)


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


# The published files: a list of three state dicts (image encoder, text encoder, similarity encoder).
_ENCODER_KEYS = {
    **linear_keys("0.fc", "project_regions"),
    "1.embed.weight": "encode_words.embedding.weight",
    **linear_keys("2.v_global_w.embedding_local.0", "visual_global.local"),
    **linear_keys("2.v_global_w.embedding_global.0", "visual_global.summary"),
    **linear_keys("2.v_global_w.embedding_common.0", "visual_global.common"),
    **linear_keys("2.t_global_w.embedding_local.0", "textual_global.local"),
    **linear_keys("2.t_global_w.embedding_global.0", "textual_global.summary"),
    **linear_keys("2.t_global_w.embedding_common.0", "textual_global.common"),
    **linear_keys("2.sim_tranloc_w", "local_similarity.project"),
    **linear_keys("2.sim_tranglo_w", "global_similarity.project"),
    **linear_keys("2.sim_eval_w", "to_score"),
    **linear_keys("2.SAF_module.attn_sim_w", "filtration.attend"),
}
_PREFIXES = {
    "1.cap_rnn.": "encode_words.gru.",
    "2.v_global_w.embedding_local.1.": "visual_global.local_norm.",
    "2.v_global_w.embedding_global.1.": "visual_global.summary_norm.",
    "2.SAF_module.bn.": "filtration.norm.",
}
_STEP_LAYERS = {"graph_query_w": "query", "graph_key_w": "key", "sim_graph_w": "update"}


def _our_key(key: str) -> str | None:
    if key in _ENCODER_KEYS:
        return _ENCODER_KEYS[key]
    for theirs, ours in _PREFIXES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    parts = key.split(".")
    if len(parts) == 5 and parts[1] == "SGR_module" and parts[3] in _STEP_LAYERS:
        return f"reasoning.{parts[2]}.{_STEP_LAYERS[parts[3]]}.{parts[4]}"
    return None


@IMPORTERS.register("sgraf")
def import_sgraf(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' SGR or SAF checkpoint.

    Sizes, directions and the head are read from the tensors; `options` are asked only for what leaves no
    trace in them: the two norms.

    Args:
        states: Image, text and similarity encoder's state dicts.
        options: The stored options.
        source: The file's name, for messages.

    Raises:
        InputError: A tensor is missing, unknown, or of an impossible shape.
    """
    flat = {f"{i}.{key}": tensor for i, state in enumerate(states) for key, tensor in state.items()}
    weights = refuse_unknown(flat, _our_key, source)
    saf = any(name.startswith("filtration.") for name in weights)
    steps = {int(name.split(".")[1]) for name in weights if name.startswith("reasoning.")}
    if saf and steps:
        raise InputError(f"{source}: has both an SGR and a SAF head", "give the authors' file of one of them")
    try:
        projection, embedding = weights["project_regions.weight"], weights["encode_words.embedding.weight"]
        sizes = SGRAFConfig(
            embed_size=projection.shape[0],
            word_size=embedding.shape[1],
            sim_size=weights["local_similarity.project.weight"].shape[0],
            text_direction="both" if "encode_words.gru.weight_ih_l0_reverse" in weights else "forward",
            image_norm="none" if options.get("no_imgnorm") else "l2",
            text_norm="none" if options.get("no_txtnorm") else "l2",
            region_norm="region",
        )
        regions = weights["visual_global.local_norm.weight"].shape[0]
    except (KeyError, IndexError) as error:
        raise InputError(f"{source}: lacks the tensor {error}", "is it an SGRAF checkpoint?") from error
    inputs = Inputs(projection.shape[1], embedding.shape[0], regions)
    if saf:
        return PublishedModel("saf", SAFConfig(**vars(sizes)), inputs, weights)
    return PublishedModel("sgr", SGRConfig(**vars(sizes), steps=len(steps)), inputs, weights)
