"""SGRAF's scores one caption at a time, with the operations of its authors' code: the baseline of speed measurements.

Every caption is repeated for all pictures, every node is updated in every step, and each norm is a square, a sum, a
root and a division. The scores are those of `SGRAF.score`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from crossgraph.core.errors import InputError
from crossgraph.core.types import ImageCode, TextCode
from crossgraph.models.base import Matcher
from crossgraph.models.sgraf import SAF, SGR


def per_caption_scores(model: Matcher, images: ImageCode, texts: TextCode) -> Float[Tensor, "img txt"]:
    """Score every picture with every caption, caption by caption.

    Args:
        model: SGR or SAF as published: words attend to regions, global and local nodes, vectors.
        images: Codes without a group axis, all regions real.
        texts: Likewise; words may be padded.

    Raises:
        InputError: Another model, or another form of it.
    """
    if not isinstance(model, (SGR, SAF)) or (model.config.nodes, model.config.attention) != ("both", "t2i"):
        raise InputError("only SGR and SAF with their published choices have this form", "give one of these")
    columns = [_one_caption(model, images, texts, row) for row in range(len(texts))]
    return torch.cat(columns, dim=1)


def _one_caption(model: Any, images: ImageCode, texts: TextCode, row: int) -> Float[Tensor, "img 1"]:
    count = len(images)
    words = texts.local[row, : int(texts.mask[row].sum())][None]
    repeated = words.repeat(count, 1, 1)
    context = _attend(repeated, images.local, model.config.smooth)
    local = _unit(model.local_similarity.project(torch.pow(torch.sub(context, repeated), 2)))
    difference = torch.sub(images.parts["global"], texts.parts["global"][row : row + 1])
    overall = _unit(model.global_similarity.project(torch.pow(difference, 2)))
    nodes = torch.cat([overall[:, None], local], dim=1)
    vector = _reason(model, nodes) if isinstance(model, SGR) else _filter(model, nodes)
    return torch.sigmoid(model.to_score(vector))


def _attend(
    words: Float[Tensor, "img word dim"], regions: Float[Tensor, "img region dim"], smooth: float
) -> Float[Tensor, "img word dim"]:
    affinity = _unit(F.leaky_relu(torch.bmm(regions, words.transpose(1, 2)), 0.1), axis=2)
    weights = F.softmax(affinity.transpose(1, 2).contiguous() * smooth, dim=2)
    context = torch.bmm(regions.transpose(1, 2), weights.transpose(1, 2).contiguous())
    return _unit(context.transpose(1, 2))


def _reason(model: Any, nodes: Float[Tensor, "img node sim"]) -> Float[Tensor, "img sim"]:
    for step in model.reasoning.steps:
        edges = torch.softmax(torch.bmm(step.query(nodes), step.key(nodes).transpose(1, 2)), dim=-1)
        nodes = F.relu(step.update(torch.bmm(edges, nodes)))
    return nodes[:, 0]


def _filter(model: Any, nodes: Float[Tensor, "img node sim"]) -> Float[Tensor, "img sim"]:
    norm = model.filtration.norm
    logits = model.filtration.attend(nodes).transpose(1, 2)
    logits = F.batch_norm(logits, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    shares = torch.sigmoid(logits)
    shares = torch.div(shares, torch.abs(shares).sum(dim=-1, keepdim=True) + 1e-8)
    return _unit(torch.matmul(shares, nodes).squeeze(1))


def _unit(x: Tensor, axis: int = -1) -> Tensor:
    return torch.div(x, torch.pow(x, 2).sum(dim=axis, keepdim=True).sqrt() + 1e-8)
