"""Every method this project knows of: those one can train here, and those it names without having them.

What is registered describes itself; the rest stands in `_NAMED`, each with the reason, until its file comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from crossgraph.models.base import MODELS, Inputs

FLICKR30K = Inputs(feature_size=2048, vocabulary_size=8481, regions=36)
"""What parameters are counted for: the published features and vocabulary of Flickr30K."""
NOT_IMPLEMENTED = "not implemented"


@dataclass(frozen=True)
class Entry:
    """One method.

    Attributes:
        name: What recipes call it.
        kind: "independent" (one vector a side) or "interaction" (a score needs both sides).
        status: "implemented", "re-interpretation" ..., see `Matcher.status`, or "not implemented".
        parameters: At the paper's sizes, for `FLICKR30K`; None where there is no code.
        paper: Authors, title, venue.
        note: Why it is not implemented, or what its status means.
    """

    name: str
    kind: str
    status: str
    parameters: int | None
    paper: str
    note: str = ""


_TO_COME = "planned; the authors' code is public"
_NAMED = (
    ("cgmn", "independent", "Cheng et al., Cross-modal Graph Matching Network for Image-text Retrieval, TOMM 2022", ""),
    ("hsc", "interaction", "HSC: hierarchical semantic correspondences (code name LHSC), ICMR 2022", ""),
    (
        "tshsr",
        "interaction",
        "Two-Stream Hierarchical Similarity Reasoning for Image-text Matching, arXiv 2203.05349, 2022",
        "planned as a re-interpretation: only the abstract could be had",
    ),
    ("vsepp", "independent", "Faghri et al., VSE++: Visual-Semantic Embeddings with Hard Negatives, BMVC 2018", ""),
    ("scan", "interaction", "Lee et al., Stacked Cross Attention for Image-Text Matching, ECCV 2018", ""),
    ("vsrn", "independent", "Li et al., Visual Semantic Reasoning for Image-Text Matching, ICCV 2019", ""),
    (
        "gpo",
        "independent",
        "Chen et al., Learning the Best Pooling Strategy for Visual Semantic Embedding, CVPR 2021",
        "",
    ),
    ("bfan", "interaction", "Liu et al., Focus Your Attention: Bidirectional Focal Attention Network, ACM MM 2019", ""),
    ("imram", "interaction", "Chen et al., IMRAM: Iterative Matching with Recurrent Attention Memory, CVPR 2020", ""),
    ("gsmn", "interaction", "Liu et al., Graph Structured Network for Image-Text Matching, CVPR 2020", ""),
    ("pfan", "interaction", "Wang et al., Position Focused Attention Network for Image-Text Matching, IJCAI 2019", ""),
    ("camp", "interaction", "Wang et al., CAMP: Cross-Modal Adaptive Message Passing, ICCV 2019", ""),
    (
        "caan",
        "interaction",
        "Zhang et al., Context-Aware Attention Network for Image-Text Retrieval, CVPR 2020",
        "no public code, and the record lacks its equations",
    ),
    (
        "rdan",
        "interaction",
        "Hu et al., Relation-wise Dual Attention Network for Image and Text Matching, IJCAI 2019",
        "no public code, and the record gives only the idea",
    ),
    (
        "dp-rnn",
        "interaction",
        "Chen and Luo, Expressing Objects just like Words: Recurrent Visual Embedding, AAAI 2020",
        "no public code; its structure is known, its attention weights are not",
    ),
    (
        "mmca",
        "interaction",
        "Wei et al., Multi-Modality Cross Attention Network for Image and Sentence Matching, CVPR 2020",
        "no public code; its score is known, its layer sizes are not",
    ),
    (
        "sgm",
        "interaction",
        "Wang et al., Cross-modal Scene Graph Matching for Image-Text Retrieval, WACV 2020",
        "no official code; its score is known, its encoders are not",
    ),
)


def catalogue() -> list[Entry]:
    """Return every method: the registered ones by name, then those that are only named."""
    ready = [_registered(name) for name in MODELS]
    rest = [
        Entry(name, kind, NOT_IMPLEMENTED, None, paper, note or _TO_COME)
        for name, kind, paper, note in _NAMED
        if name not in MODELS
    ]
    return ready + rest


def _registered(name: str) -> Entry:
    family = MODELS[name]
    with torch.device("meta"):  # shapes only: nothing is allocated or drawn
        model = family(family.Config(), FLICKR30K)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Entry(name, family.kind, family.status, parameters, family.paper)
