"""HSC gives what its authors' code gives, array by array; each golden caption was encoded alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.published import build, close

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge


@pytest.fixture
def arrays(goldens):
    return np.load(goldens / "hsc" / "hsc_eval.npz")


@pytest.fixture
def model(goldens):
    return build(goldens, "hsc", "hsc")


def inputs(arrays):
    features = torch.from_numpy(arrays["images"])
    regions = Regions(features, torch.ones(features.shape[:2], dtype=torch.bool))
    return regions, Tokens(torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"]))


def test_every_level_of_the_region_graph(model, arrays):
    regions, _ = inputs(arrays)
    with torch.no_grad():
        nodes = model.project_regions(regions.features)
        close(nodes, arrays["fc"])
        for number, layer in enumerate(model.hierarchy, start=1):
            nodes = layer(nodes, regions.mask)
            close(nodes, arrays[f"img_level{number}"])
        close(model.encode_images(regions).local, arrays["img_emb"])


def test_the_words_after_their_attention_and_after_the_gru(model, arrays):
    _, tokens = inputs(arrays)
    real = tokens.mask[..., None]
    with torch.no_grad():
        words = model.encode_words.refine(model.encode_words.embedding(tokens.ids), tokens.mask)
        close(words * real, arrays["word_att"] * real.numpy())
        close(model.encode_texts(tokens).local, arrays["cap_emb"])


@pytest.mark.parametrize("negatives, key", [("hardest", "loss_maxviol_1"), ("sum", "loss_maxviol_0")])
def test_the_scores_and_both_losses(model, arrays, negatives, key):
    regions, tokens = inputs(arrays)
    with torch.no_grad():
        scores = model.score_block(model.encode_images(regions), model.encode_texts(tokens))
        loss = hinge(scores[:6, :6], torch.eye(6, dtype=torch.bool), 0.2, negatives)
    close(scores, arrays["sims"])
    assert float(loss) == pytest.approx(float(arrays[key]), rel=1e-5)
