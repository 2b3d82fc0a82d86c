"""CAMP's four forms give what its authors' code gives, array by array."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from references.golden_codes import encoded, grouped, losses_close, scored
from references.published import build, close

from crossgraph.core.errors import InputError
from crossgraph.core.types import TextCode
from crossgraph.graphs.attend import as_regions, as_words, attended_contexts
from crossgraph.losses import cross_entropy_of_pairs
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint

FORMS = ["gate_fusion_new", "gate_fusion", "cross_attention", "cross_attention_new"]


@pytest.fixture(scope="module")
def arrays(goldens):
    return np.load(goldens / "camp" / "camp_eval.npz")


def camp(goldens, form):
    return build(goldens, "camp", f"camp_{form}")


def compared(model, arrays):
    with torch.no_grad():
        return model.compare(*grouped(*encoded(model, arrays)))


@pytest.mark.parametrize("form", FORMS)
def test_encoders_scores_and_both_losses(goldens, arrays, form):
    model = camp(goldens, form)
    assert model.config.form == form
    images, texts = encoded(model, arrays)
    close(images.local, arrays["img_emb"])
    close(texts.local, arrays["cap_emb"])
    scores = scored(model, arrays)
    close(scores, arrays[f"{form}.sims"])
    losses_close(scores, arrays, f"{form}.")
    for negatives, key in (("hardest", "bce_maxviol_1"), ("all", "bce_maxviol_0")):
        loss = cross_entropy_of_pairs(scores[:6, :6], torch.eye(6, dtype=torch.bool), negatives)
        assert float(loss) == pytest.approx(float(arrays[f"{form}.{key}"]), rel=1e-5), key


@pytest.mark.parametrize("form, short", [("gate_fusion_new", "gfn"), ("gate_fusion", "gf")])
def test_the_pooled_sides_and_the_logits(goldens, arrays, form, short):
    model = camp(goldens, form)
    image, text = compared(model, arrays)
    close(image.vector[0], arrays[f"{short}.img_pooled"])
    close(text.vector[0], arrays[f"{short}.txt_pooled"])
    close(model.logits(image, text)[0], arrays[f"{form}.logits"])


def test_what_is_gated(goldens, arrays):
    model = camp(goldens, "gate_fusion_new")
    images, texts = grouped(*encoded(model, arrays))
    regions, words = as_regions(images), as_words(texts)
    with torch.no_grad():
        image, _ = model.compare(images, texts)
        gate, scaled = model.to_regions.gate(image.mixing, regions, words)
        messages = attended_contexts(scaled, words)
    both = torch.cat([regions.vectors.expand_as(messages), messages], dim=-1) * gate
    close(both[0, :, :3], arrays["gfn.img_gated"])


def test_averaging_50_words_is_what_padding_them_gives(goldens, arrays):
    model = camp(goldens, "cross_attention_new")
    images, texts = encoded(model, arrays)
    padded = TextCode(torch.nn.functional.pad(texts.local, (0, 0, 0, 38)), torch.nn.functional.pad(texts.mask, (0, 38)))
    with torch.no_grad():
        published = model.score_block(images, texts)
        close(model.score_block(images, padded), published)
        model.config = dataclasses.replace(model.config, word_average="real")
        assert (model.score_block(images, texts) - published).abs().max() > 5e-5


def test_tensors_of_another_form_than_the_options_say_are_refused(goldens):
    file = read_checkpoint(goldens / "camp" / "camp_gate_fusion.pth")
    with pytest.raises(InputError, match="its tensors are gate_fusion's"):
        IMPORTERS["camp"](file.states, {**file.options, "measure": "cross_attention"}, "here")
