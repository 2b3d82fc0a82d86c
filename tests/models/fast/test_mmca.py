"""MMCA's form for inference: the plain form's scores, whatever the shapes, masks and lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings
from references.drawn_codes import any_codes, compare_folded, encode, grouped

from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.form import Prepares

FORMS = [{}, {"heads": 1}, {"heads": 6, "alpha": 0.3}]


def build(seed=0, **choices):
    """Return a model in evaluation mode whose biases and norms are random, too."""
    torch.manual_seed(seed)
    model = MODELS["mmca"](
        MODELS["mmca"].Config(**{"embed_size": 12, "word_size": 6, "heads": 3, **choices}), Inputs(7, 20)
    )
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "across" in name and tensor.dim() == 1:
                tensor.normal_(0.5, 0.5)
    return model.eval()


@settings(max_examples=40)
@any_codes(FORMS)
def test_folded_and_plain_form_agree(form, sizes, mixed, seed):
    compare_folded(build(seed, **form), seed, sizes, mixed)


def test_prepared_codes_score_as_others_and_come_back_as_they_are():
    model = build(4)
    images, texts = encode(model, 4, 3, 5, 4, 6, mixed=True)
    folded = model.fold()
    assert isinstance(folded, Prepares)
    with torch.inference_mode():
        ready, words = folded.prepare_images(images), folded.prepare_texts(texts)
        assert folded.prepare_images(ready) is ready
        assert folded.prepare_texts(words) is words
        torch.testing.assert_close(folded.score(*grouped(ready, words)), folded.score(*grouped(images, texts)))


def test_groups_score_as_each_alone():
    model = build(5)
    images, texts = encode(model, 5, 4, 6, 8, 7, mixed=True)
    lists = texts.map(lambda tensor: tensor.unflatten(0, (4, 2)))
    with torch.inference_mode():
        scores = model.fold().score(images.map(lambda tensor: tensor[:, None]), lists)
        every = model.score(*grouped(images, texts))[0]
    expected = torch.stack([every[row, 2 * row : 2 * row + 2] for row in range(4)])[:, None]
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_drifts_little(form):
    model = build(6, **form)
    images, texts = grouped(*encode(model, 6, 6, 5, 8, 6))
    with torch.inference_mode():
        drift = (model.fold("bfloat16").score(images, texts) - model.score(images, texts)).abs().max()
    assert 0 < drift < 2e-2
