"""SGM after its description: two scene graphs compared, objects with objects, relations with relations. Unverified.

Wang, Wang, Yao, Shan, Chen: "Cross-modal Scene Graph Matching for Relationship-aware Image-Text Retrieval", WACV 2020,
arXiv 1910.05134.

No code of the authors is public. The paper gives the score: an object part and a relation part, each with plain dot
products; every word (object) finds its best partner on the other side, and these are averaged over the words, and over
the objects. It gives no encoders, and its graphs came from a detector of 150 objects and 50 predicates and from a
parser of sentences, neither of which is here. What is ours: regions and words through SCAN's encoders; a relation's
vector from [subject; predicate; object] by two layers; both parts and both directions count alike.

Graphs are read from files, where there are any (see docs/models/sgm.md):
- of a picture, `relations.jsonl`: (subject region, predicate, object region). Without it every region has one unnamed
  relation with its surroundings: the mean of the other regions, weighed by proximity (evenly without boxes).
- of a caption, its dependency edges: each word and the word it depends on; without them, the word before it.

What is unusual:
- The best partner is a maximum, not an attention: most pairs of a region and a word get no gradient.
- Neither side depends on the other before the score; the relations' vectors, too, are computed once and stored.
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
from crossgraph.core.ranges import Size
from crossgraph.core.types import Attention, ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.attend import PairAttention
from crossgraph.graphs.initialisation import xavier
from crossgraph.graphs.normalization import at_least_float32, l2norm, masked_softmax
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fragments import FragmentConfig, FragmentMatcher, align_directions

RELATIONS = "relations"  # in Regions.extra: (n, R, K, 2), object regions and predicates (from 1) of each subject; or -1
NEAR = 0.2  # ours: scale of the distance of centres, as a share of the picture
_SMALL = 1e-6  # added to the number of words or objects, as in the paper


@dataclass(frozen=True)
class SGMConfig(FragmentConfig):
    """Sizes and choices; all but the formula of the score are ours."""

    predicates: Size = 50  # names that a file of relations may use


class RelationVectors(nn.Module):
    """Unit vectors of relations from [subject; predicate; object]: two layers with a swish between them."""

    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.wide, self.out = xavier(nn.Linear(parts * dim, dim)), xavier(nn.Linear(dim, dim))

    def forward(self, parts: Float[Tensor, "*relation parts"], real: Bool[Tensor, "*relation"]) -> Tensor:
        """Return the vectors (*relation, dim); zeros where there is no relation."""
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
        """Whether dependency edges are a caption's relations: word pieces of a text model have none."""
        return self.config.text_encoder == "gru"

    def encode_images(self, regions: Regions) -> ImageCode:
        """Encode pictures: regions as `local`, and part "relations" (img, region, K, d), absent ones zero.

        Raises:
            InputError: The file of relations has more predicates than the model.
        """
        code = super().encode_images(regions)
        if RELATIONS in regions.extra:
            relations = self._listed_relations(code, regions.extra[RELATIONS])
        else:
            relations = self._surroundings(code, regions.boxes)
        return dataclasses.replace(code, parts={RELATIONS: relations})

    def encode_texts(self, tokens: Tokens) -> TextCode:
        """Encode captions: words as `local`, and part "relations" (txt, word, d): each word with its head."""
        code = super().encode_texts(tokens)
        head, real = heads(tokens if self.reads_word_edges else dataclasses.replace(tokens, edges=None))
        heads_of = code.local.gather(1, head[..., None].expand_as(code.local))
        relations = self.word_relations(torch.cat([heads_of, code.local], dim=-1), real)
        return dataclasses.replace(code, parts={RELATIONS: relations})

    def _listed_relations(self, code: ImageCode, listed: Int[Tensor, "img region k 2"]) -> Tensor:
        target, predicate = listed.unbind(dim=-1)
        if int(predicate.max()) > self.config.predicates:
            raise InputError(
                f"a file of relations with {int(predicate.max())} predicates, the model has {self.config.predicates}",
                "set model.config.predicates to as many",
            )
        row = torch.arange(len(code), device=target.device)[:, None, None]
        position = target.clamp(min=0)
        real = (target >= 0) & code.mask[..., None] & code.mask[row, position]
        subject = code.local[:, :, None].expand(*target.shape, -1)
        between = self.predicates(predicate.clamp(min=0))
        return self.region_relations(torch.cat([subject, between, code.local[row, position]], dim=-1), real)

    def _surroundings(self, code: ImageCode, boxes: Float[Tensor, "img region 4"] | None) -> Tensor:
        """Return one relation a region, with the mean of the others weighed by proximity."""
        others = code.mask[:, None, :] & ~torch.eye(code.mask.shape[1], dtype=torch.bool, device=code.mask.device)
        distance = torch.zeros(others.shape, device=code.local.device)
        if boxes is not None:
            centre = (boxes[..., :2] + boxes[..., 2:]).float() / 2
            distance = (centre[:, :, None] - centre[:, None]).square().sum(dim=-1) / (2 * NEAR**2)
        around = masked_softmax(-distance, others).to(code.local.dtype) @ code.local
        unnamed = self.predicates.weight[0].to(code.local.dtype).expand_as(code.local)
        real = code.mask & others.any(dim=-1)
        return self.region_relations(torch.cat([code.local, unnamed, around], dim=-1), real)[:, :, None]

    def pair_scores(self, images: ImageCode, texts: TextCode) -> Float[Tensor, "group img txt"]:
        """Score every pair of a group: objects' score plus relations' score."""
        objects, relations = self._products(images, texts)
        return _mean_of_directions(*objects) + _mean_of_directions(*relations)

    def _products(self, images: ImageCode, texts: TextCode) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return dot products (g, a, b, word, region) and masks of words and regions: of objects, and of relations."""
        regions, words = images.parts[RELATIONS].flatten(2, 3), texts.parts[RELATIONS]
        sides = [(images.local, images.mask, texts.local, texts.mask)]
        sides.append((regions, regions.detach().any(dim=-1), words, words.detach().any(dim=-1)))
        return [
            (at_least_float32(torch.einsum("gbnd,gard->gabnr", word, region)), word_mask[:, None], mask[:, :, None])
            for region, mask, word, word_mask in sides
        ]

    def align(self, image: ImageCode, text: TextCode) -> Attention:
        """Explain one pair by each word's best region and each region's best word, see `align_directions`.

        A fragment with a better partner counts more. Relations, the other half of the score, are left out.
        """
        grouped = image.map(lambda t: t[None]), text.map(lambda t: t[None])
        affinity, words, regions = (part[0, 0, 0] for part in self._products(*grouped)[0])
        score = self.pair_scores(*grouped)
        t2i, i2t = _best_partners(affinity, words, regions), _best_partners(affinity.T, regions, words)
        return align_directions(image, text, score, t2i, i2t)


def heads(tokens: Tokens) -> tuple[Int[Tensor, "txt word"], Bool[Tensor, "txt word"]]:
    """Return the head of each token, and whether it has one.

    Heads come from the dependency edges; of several heads the last one. Without edges it is the token before.
    """
    positions = torch.arange(tokens.ids.shape[1], device=tokens.ids.device).expand_as(tokens.ids)
    if tokens.edges is None:
        return (positions - 1).clamp(min=0), tokens.mask & (positions > 0)
    inside = ((tokens.edges >= 0) & (tokens.edges < tokens.lengths[:, None, None])).all(dim=-1)
    head, real = torch.zeros_like(tokens.ids), torch.zeros_like(tokens.mask)
    for edge, valid in zip(tokens.edges.unbind(dim=1), inside.unbind(dim=1), strict=True):
        here = (positions == edge[:, 1:]) & valid[:, None]
        head, real = torch.where(here, edge[:, :1].clamp(min=0), head), real | here
    return head, real


def _mean_of_directions(
    affinity: Float[Tensor, "group img txt word region"],
    words: Bool[Tensor, "group #img #txt word"],
    regions: Bool[Tensor, "group #img #txt region"],
) -> Float[Tensor, "group img txt"]:
    """Return the mean of both directions' scores: the mean dot product of each fragment with its best partner."""
    return (_best_product(affinity, words, regions) + _best_product(affinity.transpose(-1, -2), regions, words)) / 2


def _best_product(affinity: Tensor, queries: Tensor, partners: Tensor) -> Tensor:
    best = affinity.masked_fill(~partners.unsqueeze(-2), torch.finfo(affinity.dtype).min).amax(dim=-1)
    best = best * (queries & partners.any(dim=-1, keepdim=True))
    return best.sum(dim=-1) / (queries.sum(dim=-1) + _SMALL)


def _best_partners(affinity: Tensor, queries: Tensor, partners: Tensor) -> PairAttention:
    affinity = affinity.masked_fill(~partners, torch.finfo(affinity.dtype).min)
    best, partner = affinity.max(dim=-1)
    counts = best.clamp(min=0) * queries
    even = queries / queries.sum().clamp(min=1)
    counts = torch.where(counts.sum() > 0, counts / counts.sum().clamp(min=1e-8), even)
    return PairAttention(F.one_hot(partner, affinity.shape[-1]).to(affinity.dtype), counts)
