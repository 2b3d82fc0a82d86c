"""IMRAM gives what its authors' code gives, array by array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.golden_codes import encoded, grouped, inputs, losses_close, scored
from references.published import build, close

from crossgraph.graphs.attend import as_regions, as_words, attended_contexts
from crossgraph.graphs.normalization import l2norm
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint


@pytest.fixture(scope="module")
def arrays(goldens):
    return np.load(goldens / "imram" / "imram_eval.npz")


def imram(goldens, **options):
    return build(goldens, "imram", "imram", **options)


def test_both_encoders_and_the_two_summaries_that_nothing_reads(goldens, arrays):
    model = imram(goldens)
    images, texts = encoded(model, arrays)
    close(images.local, arrays["img_emb"])
    close(texts.local, arrays["cap_emb"])
    close(images.local.mean(dim=1), arrays["img_mean"])
    close(l2norm(last_states(model.encode_words, inputs(arrays)[1])), arrays["cap_last"])


def last_states(encoder, tokens):
    """The mean of both directions' final states."""
    finals = []
    for ids, length in zip(tokens.ids, tokens.lengths, strict=True):
        with torch.no_grad():
            finals.append(encoder.gru(encoder.embedding(ids[:length])[None])[1].mean(dim=0)[0])
    return torch.stack(finals)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_what_was_seen_first_and_what_the_query_became(goldens, arrays, direction):
    model = imram(goldens)
    with torch.no_grad():
        images, texts = grouped(*encoded(model, arrays))
        queries, contexts = as_words(texts), as_regions(images)
        if direction == "i2t":
            queries, contexts = contexts, queries
        steps = model.compare(images, texts)[direction]
        seen = attended_contexts(steps[0].weights, contexts)
        rewritten = model.rewrite(direction, queries, seen).vectors
    real = queries.mask[0, ..., None]
    close(seen[0] * real, arrays[f"{direction}_context1"])
    close(rewritten[0] * real, arrays[f"{direction}_memory1"])


@pytest.mark.parametrize("prefix, options", [("", {}), ("norm.", {"no_IMRAM_norm": False})])
def test_every_step_and_every_form(goldens, arrays, prefix, options):
    with torch.no_grad():
        model = imram(goldens, **options)
        directions = model.compare(*grouped(*encoded(model, arrays)))
    for direction, steps in directions.items():
        close(torch.stack([step.score[0] for step in steps]), arrays[f"{prefix}{direction}_steps"])
    for form in ("full", "image", "text"):
        scores = scored(imram(goldens, model_mode=f"{form}_IMRAM", **options), arrays)
        close(scores, arrays[f"{prefix}{form}.sims"])
        losses_close(scores, arrays, f"{prefix}{form}.")


def test_the_two_published_scripts(goldens, arrays):
    flickr = imram(goldens, model_mode="image_IMRAM", iteration_step=1)
    assert not list(flickr.memory.parameters())
    close(scored(flickr, arrays), arrays["f30k_script.image_1step.sims"])
    coco = imram(goldens, model_mode="text_IMRAM", lambda_softmax=11)
    close(scored(coco, arrays), arrays["coco_script.text_lambda11.sims"])


def test_a_file_that_holds_only_what_its_form_reads(goldens, arrays):
    file = read_checkpoint(goldens / "imram" / "imram.pth")
    state = {key: tensor for key, tensor in file.states[0].items() if "i2t" not in key}
    options = {**file.options, "model_mode": "text_IMRAM"}
    model = IMPORTERS["imram"]([state], options, "here").build("here")
    close(scored(model, arrays), arrays["text.sims"])
