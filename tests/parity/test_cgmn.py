"""CGMN gives what its authors' code gives, array by array, with and without the graph of boxes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from references.published import build, check_training, close, one_pass

from crossgraph.core.types import Regions, Tokens
from crossgraph.graphs.region_graph import overlap
from crossgraph.models.cgmn import OVERLAP


def edges_of(depends):
    """The pairs after the root, padded."""
    pairs = [entry[1:] for entry in depends]
    padded = torch.full((len(pairs), max(map(len, pairs)), 2), -1)
    for row, entry in enumerate(pairs):
        if entry:
            padded[row, : len(entry)] = torch.tensor(entry)
    return padded


@pytest.fixture(params=[0, 1], ids=["without boxes", "with boxes"])
def case(request, goldens):
    arrays = np.load(goldens / "cgmn" / f"cgmn_iou{request.param}_eval.npz")
    model = build(goldens, "cgmn", "cgmn_iou1", if_IOU=bool(request.param))
    features, boxes = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["boxes"])
    regions = Regions(features, torch.ones(features.shape[:2], dtype=torch.bool), boxes)
    edges = edges_of(json.loads(str(arrays["depends"])))
    tokens = Tokens(torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"]), edges=edges)
    return model, arrays, regions, tokens


def test_every_array_of_evaluation(case):
    model, arrays, regions, tokens = case
    close((overlap(regions.boxes, regions.mask) >= OVERLAP).float(), arrays["iou"])
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        scores = model.score_block(images, texts)
        nodes = model.node_scores(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))[0]
    close(images.local, arrays["gcn_img_emb"])
    close(texts.local, arrays["gcn_cap_emb"] * tokens.mask[..., None].numpy())
    close(images.index, arrays["img_emb"])
    close(texts.index, arrays["cap_emb"])
    close(scores, arrays["sims"])
    close(nodes, arrays["matching_scores"])


@pytest.mark.parametrize(
    "negatives, key", [("hardest", "retrieval_loss_maxviol_1"), ("sum", "retrieval_loss_maxviol_0")]
)
def test_both_losses(case, negatives, key):
    model, arrays, regions, tokens = case
    with torch.no_grad():
        terms, _ = one_pass(model, regions, tokens, negatives)
    assert float(terms["ranking"]) == pytest.approx(float(arrays[key]), rel=1e-5)
    assert 3 * float(terms["matching"]) == pytest.approx(float(arrays["matching_loss"]), rel=1e-5)


def test_one_training_step(case):
    from crossgraph.models.cgmn_published import our_key

    model, arrays, regions, tokens = case
    model.train()
    terms, (images, texts) = one_pass(model, regions, tokens, "hardest")
    loss = sum(terms.values())
    loss.backward()
    close(images.index, arrays["train.img_emb"])
    close(texts.index, arrays["train.cap_emb"])
    assert float(loss.detach()) == pytest.approx(float(arrays["train.loss"]), rel=1e-5)
    check_training(model, arrays, our_key)
