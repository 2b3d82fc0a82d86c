"""BFAN gives what its authors' code gives, array by array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.golden_codes import encoded, grouped, losses_close, scored
from references.published import build, close

from crossgraph.graphs.attend import as_regions, as_words, attended_contexts


@pytest.fixture(scope="module")
def arrays(goldens):
    return np.load(goldens / "bfan" / "bfan_eval.npz")


@pytest.fixture(params=["equal", "prob"])
def focus(request):
    return request.param


def compared(goldens, arrays, focus):
    model = build(goldens, "bfan", "bfan", focal_type=focus)
    with torch.no_grad():
        images, texts = grouped(*encoded(model, arrays))
        return images, texts, model.compare(images, texts)


def test_both_encoders(goldens, arrays):
    images, texts = encoded(build(goldens, "bfan", "bfan"), arrays)
    close(images.local, arrays["img_emb"])
    close(texts.local, arrays["cap_emb"])


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_the_attention_what_is_kept_of_it_and_what_was_seen(goldens, arrays, focus, direction):
    images, texts, pairs = compared(goldens, arrays, focus)
    look = pairs[direction]
    contexts = as_regions(images) if direction == "t2i" else as_words(texts)
    real = look.mask[..., None]
    close((look.shares * real)[0], arrays[f"{direction}_attn"])
    np.testing.assert_array_equal((look.kept & real)[0].numpy(), arrays[f"{focus}.{direction}_mask"] > 0)
    close(look.score[0], arrays[f"{focus}.{direction}_part"])
    if focus == "prob":
        close((attended_contexts(look.weights, contexts) * real)[0], arrays[f"prob.{direction}_context"])


def test_the_scores_and_the_losses(goldens, arrays, focus):
    scores = scored(build(goldens, "bfan", "bfan", focal_type=focus), arrays)
    close(scores, arrays[f"{focus}.sims"])
    losses_close(scores, arrays, f"{focus}.")


def test_where_no_region_stands_out_all_are_kept(goldens, arrays, focus):
    model = build(goldens, "bfan", "bfan", focal_type=focus)
    images, texts = encoded(model, arrays)
    same = images.map(lambda t: t[:, :1].expand(-1, 3, *t.shape[2:]))
    scores = model.score_block(same, texts)
    assert torch.isfinite(scores).all()
    torch.testing.assert_close(model.align(same.select(slice(1)), texts.select(slice(1))).score, scores[0, 0])


def test_a_caption_of_one_word_has_a_score(goldens, arrays, focus):
    model = build(goldens, "bfan", "bfan", focal_type=focus)
    images, texts = encoded(model, arrays)
    assert torch.isfinite(model.score_block(images, texts.map(lambda t: t[:, :1]))).all()
