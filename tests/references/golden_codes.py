"""Golden inputs of the interaction models as codes and scores, and the two losses that every golden has."""

from __future__ import annotations

import pytest
import torch

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge


def inputs(arrays) -> tuple[Regions, Tokens]:
    features = torch.from_numpy(arrays["images"])
    boxes = torch.from_numpy(arrays["boxes"]) if "boxes" in arrays else None
    regions = Regions(features, torch.ones(features.shape[:2], dtype=torch.bool), boxes)
    return regions, Tokens(torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"]))


def encoded(model, arrays):
    regions, tokens = inputs(arrays)
    with torch.no_grad():
        return model.encode_images(regions), model.encode_texts(tokens)


def grouped(images, texts):
    """Give codes the group axis that `Matcher.score` takes."""
    return images.map(lambda t: t[None]), texts.map(lambda t: t[None])


def scored(model, arrays):
    with torch.no_grad():
        return model.score_block(*encoded(model, arrays))


def losses_close(scores, arrays, prefix, captions=6):
    """Compare both hinges of the first pairs."""
    for negatives, key in (("hardest", "loss_maxviol_1"), ("sum", "loss_maxviol_0")):
        loss = hinge(scores[:captions, :captions], torch.eye(captions, dtype=torch.bool), 0.2, negatives)
        assert float(loss) == pytest.approx(float(arrays[f"{prefix}{key}"]), rel=1e-5), key
