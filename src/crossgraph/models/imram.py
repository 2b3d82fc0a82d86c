"""IMRAM: iterative matching with recurrent attention memory.

Chen, Ding, Liu, Lin, Liu, Han: "IMRAM: Iterative Matching with Recurrent Attention Memory for Cross-Modal Image-Text
Retrieval", CVPR 2020, arXiv 2003.03772.

What is unusual:
- SCAN's attention several times over: after each step a gated memory mixes what a query saw into the query, which
  then looks again. Every step's score counts, so that scores add up to the number of steps (twice that for "full").
- Each step's cosine is of the *original* fragment; only the looking uses the rewritten one.
- The last rewriting is never read, so that one step alone has no memory at all.
- "Full" is one model whose two directions are added while it trains, not an average of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossgraph.core.types import Attention, ImageCode, TextCode
from crossgraph.graphs.attend import (
    AffinityNorm,
    Fragments,
    affinities,
    aggregate,
    as_regions,
    as_words,
    attend,
    contexts_seen,
    cosines_with_seen,
    importance,
)
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.base import MODELS, Inputs, Scorer
from crossgraph.models.folded import Precision
from crossgraph.models.fragments import (
    FragmentConfig,
    FragmentMatcher,
    Look,
    above_zero,
    at_least,
    chosen,
    encoder_fields,
    encoder_inputs,
    encoder_key,
    explain,
    number,
    translated,
)
from crossgraph.models.imram_folded import FoldedIMRAM
from crossgraph.models.published import IMPORTERS, PublishedModel
from crossgraph.models.scan import NORMS

Form = Literal["full", "image", "text"]
DIRECTIONS_OF: dict[str, tuple[str, ...]] = {"full": ("t2i", "i2t"), "image": ("i2t",), "text": ("t2i",)}


@dataclass(frozen=True)
class IMRAMConfig(FragmentConfig):
    """IMRAM's choices."""

    form: Form = "full"  # "text": words look at regions; "image": regions look at words; "full": both, added
    steps: int = 3  # K; the published Flickr30K script has 1
    smooth: float = 9.0  # λ of the attention; the published COCO script has 11
    affinity_norm: AffinityNorm = "clipped_l2norm"
    memory_norm: Literal["none", "l2"] = "none"  # of a rewritten query; both published scripts leave it out

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size or the steps below 1, or λ not above 0.
        """
        super().__post_init__()
        at_least(self, 1, "steps")
        above_zero(self, "smooth")


class Memory(nn.Module):
    """q ← g q + (1 − g) tanh(L [q; c]), g = sigmoid(G [q; c]) (Eq. 7-8): how a query takes in what it saw."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.update = nn.Linear(2 * dim, dim)
        self.gate = nn.Linear(2 * dim, dim)

    def forward(
        self, queries: Float[Tensor, "group #img #txt query dim"], seen: Float[Tensor, "group img txt query dim"]
    ) -> Float[Tensor, "group img txt query dim"]:
        """Rewrite the queries of every pair."""
        new = torch.tanh(_on_both(self.update, queries, seen))
        keep = torch.sigmoid(_on_both(self.gate, queries, seen))
        return keep * queries + (1 - keep) * new


def _on_both(layer: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
    """Return layer([x; y]) without concatenating: x is there once for many pairs while it is a side's own."""
    first, second = layer.weight.chunk(2, dim=1)
    return F.linear(x, first) + F.linear(y, second, layer.bias)


@dataclass(frozen=True)
class Step:
    """One look of a direction.

    Attributes:
        weights: What each query looked at.
        likeness: The original queries' cosines with what was seen.
        mask: True where a query is real.
    """

    weights: Float[Tensor, "group img txt query context"]
    likeness: Float[Tensor, "group img txt query"]
    mask: Tensor

    @property
    def score(self) -> Float[Tensor, "group img txt"]:
        """What the step adds to the score."""
        return aggregate(self.likeness, self.mask, "mean")


@MODELS.register("imram")
class IMRAM(FragmentMatcher):
    """Attention that is repeated with rewritten queries."""

    Config = IMRAMConfig
    paper = "Chen et al., IMRAM: Iterative Matching with Recurrent Attention Memory, CVPR 2020"
    config: IMRAMConfig

    def __init__(self, config: IMRAMConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        directions = self.directions if config.steps > 1 else ()
        self.memory = nn.ModuleDict({direction: Memory(config.embed_size) for direction in directions})

    @property
    def directions(self) -> tuple[str, ...]:
        """Who looks at whom, in this form."""
        return DIRECTIONS_OF[self.config.form]

    def memories(self) -> dict[str, Memory]:
        """Return the memory of each direction; none of one step alone."""
        return {name: memory for name, memory in self.memory.items() if isinstance(memory, Memory)}

    def fold(self, precision: Precision = "float32") -> Scorer:
        """Return the form of `imram_folded.py`."""
        return FoldedIMRAM(self, precision)

    def compare(self, images: ImageCode, texts: TextCode) -> dict[str, list[Step]]:
        """Return every step of each direction that this form has."""
        sides = {"t2i": (as_words(texts), as_regions(images)), "i2t": (as_regions(images), as_words(texts))}
        return {direction: self._look(direction, *sides[direction]) for direction in self.directions}

    def _look(self, direction: str, original: Fragments, contexts: Fragments) -> list[Step]:
        queries, steps = original, list[Step]()
        affinity = first = affinities(original, contexts)
        for number_ in range(self.config.steps):
            weights = attend(affinity, original, contexts, self.config.smooth, self.config.affinity_norm)
            steps.append(Step(weights, cosines_with_seen(first, weights, original, contexts), original.mask))
            if number_ + 1 < self.config.steps:
                queries = self.rewrite(direction, queries, contexts_seen(weights, contexts))
                affinity = affinities(queries, contexts)
        return steps

    def rewrite(self, direction: str, queries: Fragments, seen: Tensor) -> Fragments:
        """Return what the queries are after they saw something."""
        vectors = self.memory[direction](queries.vectors, seen)
        return Fragments(l2norm(vectors) if self.config.memory_norm == "l2" else vectors, queries.mask)

    def read(self, directions: dict[str, list[Step]]) -> Float[Tensor, "group img txt"]:
        """Add the scores of all steps of all directions."""
        return torch.stack([step.score for steps in directions.values() for step in steps]).sum(dim=0)

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group."""
        return self.read(self.compare(images, texts))

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by the mean of all steps' attention, and of the directions, see `explain`."""
        directions = self.compare(image.map(lambda t: t[None]), text.map(lambda t: t[None]))
        looks: dict[str, Look] = {}
        for direction, steps in directions.items():
            likeness = torch.stack([step.likeness[0, 0, 0] for step in steps]).mean(dim=0)
            weights = torch.stack([step.weights[0, 0, 0] for step in steps]).mean(dim=0)
            looks[direction] = Look(weights, importance(likeness, steps[0].mask[0, 0, 0], "mean"))
        return explain(image, text, self.read(directions), t2i=looks.get("t2i"), i2t=looks.get("i2t"))


def our_key(key: str) -> str | None:
    """Translate the name of a tensor in the one state dict; None where it is not IMRAM's."""
    for direction in ("t2i", "i2t"):
        for theirs, ours in (("linear", "update"), ("gate", "gate")):
            if key.startswith(f"0.{theirs}_{direction}."):
                return f"memory.{direction}.{ours}.{key.rpartition('.')[2]}"
    return encoder_key(key, "0.img_enc.fc_local", "0.txt_enc.")


@IMPORTERS.register("imram")
def import_imram(states: Sequence[Mapping[str, Tensor]], options: Mapping[str, Any], source: str) -> PublishedModel:
    """Translate the authors' checkpoint: one state dict of everything.

    It holds the memories of both directions whether the form reads them or not; those that it does not are left
    out. The form, the steps and λ stand in the options alone.

    Raises:
        InputError: A tensor is missing or unknown, or an option is.
    """
    weights = translated(states, our_key, source)
    forms: dict[str, Form] = {"full_IMRAM": "full", "image_IMRAM": "image", "text_IMRAM": "text"}
    config = IMRAMConfig(
        **encoder_fields(weights, options, source),
        form=chosen(options, "model_mode", forms, "full", source),
        steps=int(number(options, "iteration_step", 3.0, source)),
        smooth=number(options, "lambda_softmax", 9.0, source),
        affinity_norm=chosen(options, "raw_feature_norm", NORMS, "clipped_l2norm", source),
        memory_norm="none" if options.get("no_IMRAM_norm", True) else "l2",
    )
    read = DIRECTIONS_OF[config.form] if config.steps > 1 else ()
    kept = {k: v for k, v in weights.items() if not k.startswith("memory.") or k.split(".")[1] in read}
    return PublishedModel("imram", config, encoder_inputs(weights, source), kept)
