"""SGRAF in its plain form: one caption at a time against all images, no padding, no batching.

This is the computation the specification describes, written as directly as it can be on a model's own
weights; the batched form is tested against it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from crossgraph.models.sgraf import SAF, SGR, SGRAF


def unit(x, axis=-1):
    return x / (x.pow(2).sum(dim=axis, keepdim=True).sqrt() + 1e-8)


def caption_against_images(model: SGRAF, regions, global_image, words, global_text):
    """Scores (img,) of one caption without padding: regions (img, R, d), words (L, d)."""
    affinity = F.leaky_relu(torch.einsum("ard,ld->arl", regions, words), 0.1)
    weights = torch.softmax(model.config.smooth * unit(affinity, axis=2), dim=1)  # over regions
    context = unit(torch.einsum("arl,ard->ald", weights, regions))
    local = unit(model.local_similarity.project((context - words) ** 2))
    overall = unit(model.global_similarity.project((global_image - global_text) ** 2))
    nodes = torch.cat([overall[:, None], local], dim=1)
    if isinstance(model, SGR):
        for step in model.reasoning:
            edges = torch.softmax(step.query(nodes) @ step.key(nodes).transpose(1, 2), dim=-1)
            nodes = torch.relu(step.update(edges @ nodes))
        vector = nodes[:, 0]
    else:
        assert isinstance(model, SAF)
        norm = model.filtration.norm
        logits = model.filtration.attend(nodes).squeeze(-1)
        logits = (logits - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
        share = torch.sigmoid(logits)
        share = share / (share.abs().sum(dim=1, keepdim=True) + 1e-8)
        vector = unit((share[:, :, None] * nodes).sum(dim=1))
    return torch.sigmoid(model.to_score(vector)).squeeze(-1)


def all_scores(model: SGRAF, images, texts):
    """Scores (img, txt) of encoded sides, caption by caption."""
    columns = []
    for j in range(len(texts)):
        length = int(texts.mask[j].sum())
        columns.append(
            caption_against_images(
                model, images.local, images.parts["global"], texts.local[j, :length], texts.parts["global"][j]
            )
        )
    return torch.stack(columns, dim=1)
