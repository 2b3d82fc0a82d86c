"""SGM after its description: two scene graphs compared, objects with objects, relations with relations. Unverified.

Wang, Wang, Yao, Shan, Chen: "Cross-modal Scene Graph Matching for Relationship-aware Image-Text Retrieval", WACV 2020,
arXiv 1910.05134.

No code of the authors is public. The record gives the score: an object part and a relation part, each with plain dot
products; every word (object) finds its best partner on the other side, and these are averaged over the words, and over
the objects. It gives no encoders, and its graphs came from a detector of 150 objects and 50 predicates and from a
parser of sentences, neither of which is here. What is ours: regions and words through SCAN's encoders; a relation's
vector from [subject; predicate; object] by two layers; both parts and both directions count alike.

Graphs, where there are files of them, are read from files (see docs/models/sgm.md):
- of a picture, `relations.jsonl`: (subject region, predicate, object region). Without it every region has one relation
  of no name, with what lies around it: the other regions, the nearer the more (all alike without boxes).
- of a caption, its dependency edges: each word and the word it depends on; without them, and the word before it.

What is unusual:
- The partner is the maximum, not an attention: most pairs of a region and a word learn nothing.
- Neither side sees the other before the score; the relations' vectors, too, are computed once and stored.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from crossgraph.core.errors import InputError
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.normalization import at_least_float32, l2norm, masked_softmax
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fragments import FragmentConfig, FragmentMatcher, Look, at_least, explain, xavier

RELATIONS = "relations"  # in Regions.extra: (n, R, K, 2), object regions and predicates (from 1) of each subject; or -1
NEAR = 0.2  # ours: distance of centres, in pictures, at which a region lies around another
_SMALL = 1e-6  # beside the number of words or objects, as the record has it


@dataclass(frozen=True)
class SGMConfig(FragmentConfig):
    """Sizes and choices; all but the formula of the score are ours."""

    predicates: int = 50  # names that a file of relations may use

    def __post_init__(self) -> None:
        """Refuse what makes no model.

        Raises:
            InputError: A size below 1, or no predicate.
        """
        super().__post_init__()
        at_least(self, 1, "predicates")


class RelationVectors(nn.Module):
    """[subject; what stands between; object] to a unit vector: two layers, swish between."""

    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.wide, self.out = xavier(nn.Linear(parts * dim, dim)), xavier(nn.Linear(dim, dim))

    def forward(self, parts: Float[Tensor, "*relation parts"], real: Bool[Tensor, "*relation"]) -> Tensor:
        """Return (*relation, dim); where there is no relation, zeros."""
        return l2norm(self.out(F.silu(self.wide(parts)))) * real[..., None]


@MODELS.register("sgm")
class SGM(FragmentMatcher):
    """Best partners of objects, and of relations. Unverified: built after a description."""

    status = "unverified"
    Config = SGMConfig
    paper = "Wang et al., Cross-modal Scene Graph Matching, WACV 2020 (its score after the description, unverified)"
    word_axes: ClassVar = {RELATIONS: (1,)}
    config: SGMConfig

    def __init__(self, config: SGMConfig, inputs: Inputs) -> None:
        super().__init__(config, inputs)
        d = config.embed_size
        self.predicates = nn.Embedding(config.predicates + 1, d)  # 0: no name
        self.region_relations, self.word_relations = RelationVectors(d, 3), RelationVectors(d, 2)

    @property
    def reads_word_edges(self) -> bool:
        """Dependency edges are a caption's relations; a text model's pieces have none."""
        return self.config.text_encoder == "gru"

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: regions as `local`, and part "relations" (img, region, K, d), absent ones zero.

        Raises:
            InputError: The file of relations has more predicates than the model.
        """
        code = super().encode_images(regions)
        if RELATIONS in regions.extra:
            found = self._listed(code, regions.extra[RELATIONS])
        else:
            found = self._surroundings(code, regions.boxes)
        return dataclasses.replace(code, parts={RELATIONS: found})

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: words as `local`, and part "relations" (txt, word, d): each word with its head."""
        code = super().encode_texts(tokens)
        head, real = heads(tokens if self.reads_word_edges else dataclasses.replace(tokens, edges=None))
        heads_of = code.local.gather(1, head[..., None].expand_as(code.local))
        found = self.word_relations(torch.cat([heads_of, code.local], dim=-1), real)
        return dataclasses.replace(code, parts={RELATIONS: found})

    def _listed(self, code: ImageCode, listed: Int[Tensor, "img region k 2"]) -> Tensor:
        target, predicate = listed.unbind(dim=-1)
        if int(predicate.max()) > self.config.predicates:
            raise InputError(
                f"a file of relations with {int(predicate.max())} predicates, the model has {self.config.predicates}",
                "set model.config.predicates to as many",
            )
        row = torch.arange(len(code), device=target.device)[:, None, None]
        place = target.clamp(min=0)
        real = (target >= 0) & code.mask[..., None] & code.mask[row, place]
        subject = code.local[:, :, None].expand(*target.shape, -1)
        between = self.predicates(predicate.clamp(min=0))
        return self.region_relations(torch.cat([subject, between, code.local[row, place]], dim=-1), real)

    def _surroundings(self, code: ImageCode, boxes: Float[Tensor, "img region 4"] | None) -> Tensor:
        """Return one relation a region, with the mean of the others, the nearer counting more."""
        others = code.mask[:, None, :] & ~torch.eye(code.mask.shape[1], dtype=torch.bool, device=code.mask.device)
        far = torch.zeros(others.shape, device=code.local.device)
        if boxes is not None:
            centre = (boxes[..., :2] + boxes[..., 2:]).float() / 2
            far = (centre[:, :, None] - centre[:, None]).square().sum(dim=-1) / (2 * NEAR**2)
        around = masked_softmax(-far, others).to(code.local.dtype) @ code.local
        unnamed = self.predicates.weight[0].to(code.local.dtype).expand_as(code.local)
        real = code.mask & others.any(dim=-1)
        return self.region_relations(torch.cat([code.local, unnamed, around], dim=-1), real)[:, :, None]

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group: the objects' part plus the relations' part."""
        objects, relations = self._parts(images, texts)
        return _both_ways(*objects) + _both_ways(*relations)

    def _parts(self, images: ImageCode, texts: TextCode) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return of objects and of relations: dot products (g, a, b, word, region), who is real on either side."""
        regions, words = images.parts[RELATIONS].flatten(2, 3), texts.parts[RELATIONS]
        sides = [(images.local, images.mask, texts.local, texts.mask)]
        sides.append((regions, regions.detach().any(dim=-1), words, words.detach().any(dim=-1)))
        return [
            (at_least_float32(torch.einsum("gbnd,gard->gabnr", word, region)), word_mask[:, None], mask[:, :, None])
            for region, mask, word, word_mask in sides
        ]

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by its objects' part: each word's best region and each region's best word; see `explain`.

        Who has the better partner counts more. Relations, the other half of the score, are left out.
        """
        grouped = image.map(lambda t: t[None]), text.map(lambda t: t[None])
        affinity, words, regions = (part[0, 0, 0] for part in self._parts(*grouped)[0])
        score = self.pair_scores(*grouped)
        t2i, i2t = _partners(affinity, words, regions), _partners(affinity.T, regions, words)
        return explain(image, text, score, t2i=t2i, i2t=i2t)


def heads(tokens: Tokens) -> tuple[Int[Tensor, "txt word"], Bool[Tensor, "txt word"]]:
    """Return the token that each token depends on, and whether there is one.

    By the dependency edges; of several heads of one word the last. Without edges, the token before.
    """
    places = torch.arange(tokens.ids.shape[1], device=tokens.ids.device).expand_as(tokens.ids)
    if tokens.edges is None:
        return (places - 1).clamp(min=0), tokens.mask & (places > 0)
    inside = ((tokens.edges >= 0) & (tokens.edges < tokens.lengths[:, None, None])).all(dim=-1)
    head, real = torch.zeros_like(tokens.ids), torch.zeros_like(tokens.mask)
    for edge, kept in zip(tokens.edges.unbind(dim=1), inside.unbind(dim=1), strict=True):
        here = (places == edge[:, 1:]) & kept[:, None]
        head, real = torch.where(here, edge[:, :1].clamp(min=0), head), real | here
    return head, real


def _both_ways(
    affinity: Float[Tensor, "group img txt word region"],
    words: Bool[Tensor, "group #img #txt word"],
    regions: Bool[Tensor, "group #img #txt region"],
) -> Float[Tensor, "group img txt"]:
    """Return the mean of both directions: of each side's members the mean of their best partner's dot product."""
    return (_best(affinity, words, regions) + _best(affinity.transpose(-1, -2), regions, words)) / 2


def _best(affinity: Tensor, queries: Tensor, partners: Tensor) -> Tensor:
    found = affinity.masked_fill(~partners.unsqueeze(-2), torch.finfo(affinity.dtype).min).amax(dim=-1)
    found = found * (queries & partners.any(dim=-1, keepdim=True))
    return found.sum(dim=-1) / (queries.sum(dim=-1) + _SMALL)


def _partners(affinity: Tensor, queries: Tensor, partners: Tensor) -> Look:
    affinity = affinity.masked_fill(~partners, torch.finfo(affinity.dtype).min)
    best, place = affinity.max(dim=-1)
    counts = best.clamp(min=0) * queries
    even = queries / queries.sum().clamp(min=1)
    counts = torch.where(counts.sum() > 0, counts / counts.sum().clamp(min=1e-8), even)
    return Look(F.one_hot(place, affinity.shape[-1]).to(affinity.dtype), counts)
