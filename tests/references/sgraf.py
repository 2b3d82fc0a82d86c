"""SGRAF in its plain form: one caption at a time against all images, no padding, no batching.

This is the computation the specification describes, ablations included, written as directly as it can be on
a model's own weights; the batched form is tested against it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from crossgraph.models.sgraf import SGRAF
from crossgraph.models.sgraf_ablations import SGRAFAverage, SGRAFJoint


def unit(x, axis=-1):
    return x / (x.pow(2).sum(dim=axis, keepdim=True).sqrt() + 1e-8)


def local_nodes(model: SGRAF, regions, words):
    """Local nodes (img, L or R, m) of one caption without padding: regions (img, R, d), words (L, d)."""
    affinity = F.leaky_relu(torch.einsum("ard,ld->arl", regions, words), 0.1)
    if model.config.attention == "t2i":
        weights = torch.softmax(model.config.smooth * unit(affinity, axis=2), dim=1)  # over regions
        seen, looking = unit(torch.einsum("arl,ard->ald", weights, regions)), words.expand(len(regions), -1, -1)
    else:
        weights = torch.softmax(model.config.smooth * unit(affinity, axis=1), dim=2)  # over words
        seen, looking = unit(torch.einsum("arl,ld->ard", weights, words)), regions
    if model.config.similarity == "scalar":
        return F.cosine_similarity(seen, looking, dim=2)[:, :, None]
    return unit(model.local_similarity.project((seen - looking) ** 2))


def global_node(model: SGRAF, global_image, global_text):
    """The global node (img, 1, m) of one caption."""
    if model.config.similarity == "scalar":
        return F.cosine_similarity(global_image, global_text[None], dim=1)[:, None, None]
    return unit(model.global_similarity.project((global_image - global_text) ** 2))[:, None]


def reason(model, nodes):
    """SGR's similarity vector (img, m)."""
    for step in model.reasoning:
        edges = torch.softmax(step.query(nodes) @ step.key(nodes).transpose(1, 2), dim=-1)
        nodes = torch.relu(step.update(edges @ nodes))
    return nodes.mean(dim=1) if model.config.nodes == "local" else nodes[:, 0]


def filtrate(model, nodes):
    """SAF's similarity vector (img, m), in evaluation mode."""
    norm = model.filtration.norm
    logits = model.filtration.attend(nodes).squeeze(-1)
    logits = (logits - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
    share = torch.sigmoid(logits)
    share = share / (share.abs().sum(dim=1, keepdim=True) + 1e-8)
    return unit((share[:, :, None] * nodes).sum(dim=1))


def read(model: SGRAF, nodes):
    """Scores (img,) from nodes (img, n, m)."""
    if isinstance(model, SGRAFAverage):
        if model.config.similarity == "scalar":
            return nodes.mean(dim=(1, 2))
        return torch.sigmoid(model.to_score(nodes)).mean(dim=(1, 2))
    if isinstance(model, SGRAFJoint):
        sgr = torch.sigmoid(model.sgr_to_score(reason(model, nodes)))
        return ((sgr + torch.sigmoid(model.saf_to_score(filtrate(model, nodes)))) / 2).squeeze(-1)
    vector = reason(model, nodes) if hasattr(model, "reasoning") else filtrate(model, nodes)
    return torch.sigmoid(model.to_score(vector)).squeeze(-1)


def all_scores(model: SGRAF, images, texts):
    """Scores (img, txt) of encoded sides, caption by caption; pictures without padding."""
    columns = []
    for j in range(len(texts)):
        words = texts.local[j, : int(texts.mask[j].sum())]
        nodes = []
        if model.config.nodes != "local":
            nodes.append(global_node(model, images.parts["global"], texts.parts["global"][j]))
        if model.config.nodes != "global":
            nodes.append(local_nodes(model, images.local, words))
        columns.append(read(model, torch.cat(nodes, dim=1)))
    return torch.stack(columns, dim=1)
