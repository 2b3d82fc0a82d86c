"""Neighbourhoods of the words of a caption: dependency edges, or a chain or complete graph without them."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossgraph.core.types import Tokens

WithoutEdges = Literal["chain", "full"]


@runtime_checkable
class ReadsWordEdges(Protocol):
    """A model that may use a caption's dependency edges."""

    @property
    def reads_word_edges(self) -> bool:
        """Whether the model, as configured, uses them."""
        ...


def reads_word_edges(model: object) -> bool:
    """Return whether dependency edges change a model's scores."""
    return isinstance(model, ReadsWordEdges) and model.reads_word_edges


def neighbours(tokens: Tokens, without_edges: WithoutEdges) -> Float[Tensor, "txt word word"]:
    """Return a symmetric adjacency matrix: 1 for neighbours, and 1 for every real token with itself.

    Args:
        tokens: Captions; pairs of `edges` that reach beyond their caption are skipped.
        without_edges: The graph where `tokens.edges` is None: "chain" joins each token to the next, "full" joins
            all.
    """
    real = tokens.mask
    both = real[:, :, None] & real[:, None, :]
    if tokens.edges is not None:
        joined = _from_edges(tokens)
    elif without_edges == "full":
        joined = ~torch.eye(real.shape[1], dtype=torch.bool, device=real.device).expand_as(both)
    else:
        position = torch.arange(real.shape[1], device=real.device)
        joined = ((position[:, None] - position[None, :]).abs() == 1).expand_as(both)
    return (joined.float() + torch.eye(real.shape[1], device=real.device)) * both


def _from_edges(tokens: Tokens) -> Bool[Tensor, "txt word word"]:
    assert tokens.edges is not None
    captions, longest = tokens.ids.shape
    inside = ((tokens.edges >= 0) & (tokens.edges < tokens.lengths[:, None, None])).all(dim=-1)
    head, dependent = tokens.edges.clamp(0, longest - 1).unbind(dim=-1)
    row = torch.arange(captions, device=tokens.ids.device)[:, None].expand_as(head)
    joined = torch.zeros(captions, longest, longest, dtype=torch.bool, device=tokens.ids.device)
    joined[row[inside], head[inside], dependent[inside]] = True
    return joined | joined.transpose(1, 2)
