"""DP-RNN's form for inference: the plain form's scores, whatever the shapes, masks and lengths."""

from __future__ import annotations

import torch
from hypothesis import settings
from references.drawn_codes import any_codes, compare_folded, encode, grouped

from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.fast.dp_rnn import FastDPRNN

FORMS = [{}, {"image_norm": "none", "text_norm": "none"}, {"smooth": 4.0, "text_direction": "forward"}]


def build(seed=0, **choices):
    torch.manual_seed(seed)
    config = MODELS["dp-rnn"].Config(**{"embed_size": 12, "word_size": 6, **choices})
    return MODELS["dp-rnn"](config, Inputs(7, 20)).eval()


@settings(max_examples=40)
@any_codes(FORMS)
def test_folded_and_plain_form_agree(form, sizes, mixed, seed):
    compare_folded(build(seed, **form), seed, sizes, mixed)


def test_prepared_codes_score_as_others_and_come_back_as_they_are():
    model = build(4)
    images, texts = encode(model, 4, 3, 5, 4, 6, mixed=True)
    folded = model.fold()
    assert type(model.fold()) is FastDPRNN
    with torch.inference_mode():
        prepared = folded.prepare_images(images)
        assert folded.prepare_images(prepared) is prepared
        assert folded.prepare_texts(texts) is texts
        found, expected = (folded.score(*grouped(one, texts)) for one in (prepared, images))
    assert torch.equal(found, expected)


def test_bfloat16_drifts_little():
    model = build(5)
    images, texts = grouped(*encode(model, 5, 6, 9, 6, 8))
    with torch.inference_mode():
        exact, halved = model.fold().score(images, texts), model.fold("bfloat16").score(images, texts)
    assert halved.dtype == torch.float32
    assert 0 < float((halved - exact).abs().max()) < 5e-3


def test_the_form_keeps_the_weights_of_its_making():
    model = build(6)
    images, texts = grouped(*encode(model, 6, 2, 5, 3, 6))
    folded = model.fold()
    with torch.inference_mode():
        before = folded.score(images, texts)
    with torch.no_grad():
        for weight in model.read_regions.parameters():
            weight.zero_()
    with torch.inference_mode():
        assert torch.equal(folded.score(images, texts), before)


def test_the_first_stage_has_no_form_of_its_own():
    model = build(recurrent="none")
    assert model.fold() is model
