"""VSRN's retrieval part gives what its authors' code gives: both published models, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.published import build, check_training, close, one_pass

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge


@pytest.fixture(params=["f30k", "coco"])
def case(request, goldens):
    arrays = np.load(goldens / "vsrn" / f"vsrn_{request.param}_eval.npz")
    features = torch.from_numpy(arrays["images"])
    regions = Regions(features, torch.ones(features.shape[:2], dtype=torch.bool))
    tokens = Tokens(torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"]))
    return build(goldens, "vsrn", f"vsrn_{request.param}"), arrays, regions, tokens


def test_every_array_of_evaluation(case):
    model, arrays, regions, tokens = case
    with torch.no_grad():
        levels = model.region_levels(regions)
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        states = model.read_regions.states(images.local, images.mask)
        scores = model.score_block(images, texts)
        close(model.project_regions(regions.features), arrays["fc"])
        if "bn_out" in arrays:
            close(model.read_norm(states[:, -1]), arrays["bn_out"])
    for level, name in zip(levels, ["gcn_in", *(f"gcn_level{i}" for i in range(1, 5))], strict=True):
        close(level, arrays[name])
    close(images.local, arrays["gcn_norm"])
    close(states, arrays["rnn_out"])
    close(states[:, -1], arrays["rnn_last"])
    close(images.index, arrays["img_emb"])
    close(texts.index, arrays["cap_emb"])
    close(scores, arrays["sims"])
    for negatives, key in (("hardest", "loss_maxviol_1"), ("sum", "loss_maxviol_0")):
        loss = hinge(scores[:6, :6], torch.eye(6, dtype=torch.bool), 0.2, negatives)
        assert float(loss) == pytest.approx(float(arrays[key]), rel=1e-5)


@pytest.mark.parametrize("negatives, suffix", [("hardest", 1), ("sum", 0)])
def test_one_training_step(case, negatives, suffix):
    from crossgraph.models.published.independent import vsrn_key as our_key

    model, arrays, regions, tokens = case
    model.train()
    tokens = Tokens(tokens.ids[:6], tokens.lengths[:6])
    terms, (images, texts) = one_pass(model, regions, tokens, negatives)
    terms["ranking"].backward()
    close(images.index, arrays["train.img_emb"])
    close(texts.index, arrays["train.cap_emb"])
    assert float(terms["ranking"].detach()) == pytest.approx(float(arrays[f"train.loss_maxviol_{suffix}"]), rel=1e-5)
    check_training(model, arrays, our_key, gradients=f"train.mv{suffix}.gradnorm.")
