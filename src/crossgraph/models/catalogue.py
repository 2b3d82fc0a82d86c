"""List of all methods: the registered models, and known methods that are not implemented, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from crossgraph.models.base import MODELS, Inputs

FLICKR30K = Inputs(feature_size=2048, vocabulary_size=8481, regions=36)
"""The published features and vocabulary of Flickr30K, for which parameters are counted."""
NOT_IMPLEMENTED = "not implemented"


@dataclass(frozen=True)
class Entry:
    """A method in the list.

    Attributes:
        name: What recipes call it.
        kind: "independent" (one vector a side) or "interaction" (a score needs both sides).
        status: "implemented", "re-interpretation" ..., see `Matcher.status`, or "not implemented".
        parameters: At the paper's sizes, for `FLICKR30K`; None without an implementation.
        paper: Authors, title, venue.
        note: Why it is not implemented.
    """

    name: str
    kind: str
    status: str
    parameters: int | None
    paper: str
    note: str = ""


_UNIMPLEMENTED = (
    Entry(
        "caan",
        "interaction",
        NOT_IMPLEMENTED,
        None,
        "Zhang et al., Context-Aware Attention Network for Image-Text Retrieval, CVPR 2020",
        "no public code, and the record lacks its equations",
    ),
    Entry(
        "rdan",
        "interaction",
        NOT_IMPLEMENTED,
        None,
        "Hu et al., Relation-wise Dual Attention Network for Image and Text Matching, IJCAI 2019",
        "no public code, and the record gives only the idea",
    ),
)


def catalogue() -> list[Entry]:
    """Return every method: the registered ones by name, then those that are not implemented."""
    return [*(_registered(name) for name in MODELS), *(entry for entry in _UNIMPLEMENTED if entry.name not in MODELS)]


def _registered(name: str) -> Entry:
    family = MODELS[name]
    with torch.device("meta"):  # shapes only: nothing is allocated or drawn
        model = family(family.Config(), FLICKR30K)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Entry(name, family.kind, family.status, parameters, family.paper)
