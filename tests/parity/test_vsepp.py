"""VSE++ gives what its authors' code gives: as published, as VSE0, and by the order measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.published import build, close

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge


@pytest.fixture
def arrays(goldens):
    return np.load(goldens / "vsepp" / "vsepp_eval.npz")


def encoded(model, arrays, features):
    regions = Regions(features, torch.ones(features.shape[:2], dtype=torch.bool))
    tokens = Tokens(torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"]))
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        return images, texts, model.score_block(images, texts)


def vector(code):
    return code.parts["vector"] if code.index is None else code.index


@pytest.mark.parametrize("regions", [True, False], ids=["mean of regions", "one vector"])
@pytest.mark.parametrize(
    "prefix, options",
    [
        ("", {}),
        ("noimgnorm.", {"no_imgnorm": True}),
        ("order.", {"use_abs": True, "measure": "order"}),
    ],
)
def test_every_array(goldens, arrays, prefix, options, regions):
    model = build(goldens, "vsepp", "vsepp", **options)
    features = torch.from_numpy(arrays["regions"]) if regions else torch.from_numpy(arrays["images"])[:, None]
    images, texts, scores = encoded(model, arrays, features)
    if f"{prefix}fc" in arrays:
        close(images.local.mean(dim=1), arrays[f"{prefix}fc"])
    close(vector(images), arrays[f"{prefix}img_emb"])
    if f"{prefix}cap_emb" in arrays:
        close(vector(texts), arrays[f"{prefix}cap_emb"])
    close(scores, arrays[f"{prefix}sims"])
    losses = [key for key in arrays.files if key.startswith(f"{prefix}loss")]
    assert losses
    for key in losses:
        margin = 0.05 if "05" in key else 0.2
        negatives = "hardest" if "maxviol_1" in key else "sum"
        loss = hinge(scores[:6, :6], torch.eye(6, dtype=torch.bool), margin, negatives)
        assert float(loss) == pytest.approx(float(arrays[key]), rel=1e-5), key
