"""GPO gives what its authors' code gives (Bi-GRU branch), with pictures of different numbers of regions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.published import build, check_training, close, one_pass

from crossgraph.core.types import Regions, Tokens
from crossgraph.graphs.generalized_pooling import position_codes
from crossgraph.losses import hinge


@pytest.fixture
def arrays(goldens):
    return np.load(goldens / "gpo" / "gpo_bigru_eval.npz")


@pytest.fixture
def sides(arrays):
    features, counts = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["image_lengths"])
    regions = Regions(features, torch.arange(features.shape[1]) < counts[:, None])
    return regions, Tokens(torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"]))


def test_every_array_of_evaluation(goldens, arrays, sides):
    regions, tokens = sides
    model = build(goldens, "gpo", "gpo_bigru")
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        scores = model.score_block(images, texts)
        close(model.pool_regions.weights(regions.mask.sum(dim=1), 7), arrays["img_pool_weights"])
        close(model.pool_words.weights(tokens.lengths, 12), arrays["cap_pool_weights"])
        close(model.pool_regions.weights(torch.arange(1, 37), 36), arrays["img_weights_by_length"])
        close(model.pool_regions(images.local, images.mask), arrays["img_pooled"])
        close(model.pool_words(texts.local, texts.mask), arrays["cap_pooled"])
        real = regions.mask[..., None]
        close(model.project_regions(regions.features) * real, arrays["img_fc"] * real.numpy())
    close(images.local, (arrays["img_fc"] + arrays["img_mlp"]) * real.numpy())
    close(texts.local, arrays["cap_words"])
    close(position_codes(36), arrays["pe36"])
    close(images.index, arrays["img_emb"])
    close(texts.index, arrays["cap_emb"])
    close(scores, arrays["sims"])
    for negatives, key in (("hardest", "loss_maxviol_1"), ("sum", "loss_maxviol_0")):
        loss = hinge(scores[:6, :6], torch.eye(6, dtype=torch.bool), 0.2, negatives)
        assert float(loss) == pytest.approx(float(arrays[key]), rel=1e-5)


def test_the_norms_can_be_left_out(goldens, arrays, sides):
    model = build(goldens, "gpo", "gpo_bigru", no_imgnorm=True, no_txtnorm=True)
    with torch.no_grad():
        close(model.encode_images(sides[0]).index, arrays["nonorm.img_emb"])
        close(model.encode_texts(sides[1]).index, arrays["nonorm.cap_emb"])


def test_one_training_step(goldens, arrays, sides):
    from crossgraph.models.published.independent import gpo_key as our_key

    regions, tokens = sides
    model = build(goldens, "gpo", "gpo_bigru").train()
    terms, (images, texts) = one_pass(model, regions, Tokens(tokens.ids[:6], tokens.lengths[:6]), "hardest")
    terms["ranking"].backward()
    close(images.index, arrays["train.img_emb"])
    close(texts.index, arrays["train.cap_emb"])
    assert float(terms["ranking"].detach()) == pytest.approx(float(arrays["train.loss_maxviol_1"]), rel=1e-5)
    check_training(model, arrays, our_key)
