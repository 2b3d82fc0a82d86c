"""PFAN gives what its authors' code gives, array by array."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from references.golden_codes import grouped, inputs, losses_close
from references.published import build, close

from crossgraph.core.errors import InputError
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint

LAMBDAS = {"t2i": (9.0, 6.0), "i2t": (4.0, 5.0)}


@pytest.fixture(scope="module")
def arrays(goldens):
    return np.load(goldens / "pfan" / "pfan_eval.npz")


def pfan(goldens, direction="t2i", how="Mean"):
    smooth, lse = LAMBDAS[direction]
    options = {"cross_attn": direction, "agg_func": how, "lambda_softmax": smooth, "lambda_lse": lse}
    return build(goldens, "pfan", "pfan", **options)


def codes(model, arrays):
    regions, tokens = inputs(arrays)
    regions = dataclasses.replace(regions, extra={"positions": torch.from_numpy(arrays["positions"])})
    with torch.no_grad():
        return regions, model.encode_images(regions), model.encode_texts(tokens)


def test_both_encoders_and_where_the_regions_lie(goldens, arrays):
    model = pfan(goldens)
    regions, images, texts = codes(model, arrays)
    with torch.no_grad():
        where = model.positions(regions)
        close(model.position.attention(regions.features, where[0]), arrays["position_attn"])
        close(model.position(regions.features, *where), arrays["position_feat"])
    close(images.local, arrays["img_emb"])
    close(texts.local, arrays["cap_emb"])


@pytest.mark.parametrize("direction", LAMBDAS)
@pytest.mark.parametrize("how", ["Mean", "LogSumExp"])
def test_the_scores_and_the_losses(goldens, arrays, direction, how):
    model = pfan(goldens, direction, how)
    _, images, texts = codes(model, arrays)
    with torch.no_grad():
        scores = model.score_block(images, texts)
    close(scores, arrays[f"{direction}_{how}.sims"])
    losses_close(scores, arrays, f"{direction}_{how}.")


def test_the_largest_share_of_each_word(goldens, arrays):
    model = pfan(goldens)
    _, images, texts = codes(model, arrays)
    close(model.largest(model.compare(*grouped(images, texts)))[0], arrays["t2i_Mean.max_attn"])


def test_regions_without_a_place_are_refused(goldens, arrays):
    model = pfan(goldens)
    regions, _ = inputs(arrays)
    with pytest.raises(InputError, match="have no boxes"):
        model.encode_images(regions)
    given = torch.from_numpy(arrays["positions"])
    with pytest.raises(InputError, match="28 numbers a region: PFAN takes 30"):
        model.encode_images(dataclasses.replace(regions, extra={"positions": given[..., :28]}))
    with pytest.raises(InputError, match="blocks are numbered 0 to 16"):
        model.encode_images(dataclasses.replace(regions, extra={"positions": given + 1}))


def test_a_grid_that_is_no_square_is_refused(goldens):
    file = read_checkpoint(goldens / "pfan" / "pfan.pth")
    image = {**file.states[0], "position_embedding.weight": torch.zeros(16, 8)}
    with pytest.raises(InputError, match="no square grid"):
        IMPORTERS["pfan"]([image, file.states[1]], file.options, "here")
