"""SCAN gives what its authors' code gives, array by array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from references.golden_codes import encoded, grouped, inputs, losses_close, scored
from references.published import build, close

from crossgraph.core.errors import InputError
from crossgraph.graphs.attend import as_regions, as_words, attended_contexts
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint

LAMBDAS = {"t2i": 9.0, "i2t": 4.0}
FORMS = ["t2i_LogSumExp_lse6", "i2t_LogSumExp_lse5", "i2t_LogSumExp_lse20"]
FORMS += [f"{direction}_{how}" for direction in LAMBDAS for how in ("Mean", "Max", "Sum")]


@pytest.fixture(scope="module")
def arrays(goldens):
    return np.load(goldens / "scan" / "scan_bigru_eval.npz")


def scan(goldens, form="t2i_Mean", file="scan_bigru", **options):
    direction, how, *smooth = form.split("_")
    own = {"cross_attn": direction, "agg_func": how, "lambda_softmax": LAMBDAS[direction]}
    own |= {"lambda_lse": float(smooth[0].removeprefix("lse"))} if smooth else {}
    return build(goldens, "scan", file, **own, **options)


def test_both_encoders(goldens, arrays):
    images, texts = encoded(scan(goldens), arrays)
    close(images.local, arrays["img_emb"])
    close(texts.local, arrays["cap_emb"])


@pytest.mark.parametrize("direction", LAMBDAS)
def test_the_attention_and_what_was_seen(goldens, arrays, direction):
    model = scan(goldens, f"{direction}_Mean")
    images, texts = grouped(*encoded(model, arrays))
    pairs = model.compare(images, texts)
    contexts = as_regions(images) if direction == "t2i" else as_words(texts)
    real = pairs.mask[..., None]
    close(((pairs.weights * real)[0]).transpose(2, 3), arrays[f"{direction}.attn"])
    close((attended_contexts(pairs.weights, contexts) * real)[0], arrays[f"{direction}.context"])


@pytest.mark.parametrize("form", FORMS)
def test_every_aggregation_and_its_losses(goldens, arrays, form):
    scores = scored(scan(goldens, form), arrays)
    close(scores, arrays[f"{form}.sims"])
    losses_close(scores, arrays, f"{form}.")


@pytest.mark.parametrize("norm", ["softmax", "l2norm", "clipped", "no_norm"])
def test_the_other_norms_of_the_attention(goldens, arrays, norm):
    close(scored(scan(goldens, raw_feature_norm=norm), arrays), arrays[f"norm_{norm}.t2i_Mean.sims"])


@pytest.mark.parametrize("norm", ["l1norm", "clipped_l1norm"])
def test_norms_that_the_authors_code_cannot_run_are_refused(goldens, norm):
    with pytest.raises(InputError, match=f"raw_feature_norm is '{norm}'"):
        scan(goldens, raw_feature_norm=norm)


@pytest.mark.parametrize("no_image, no_text", [(1, 0), (0, 1), (1, 1)])
def test_the_norms_of_the_embeddings_can_be_left_out(goldens, arrays, no_image, no_text):
    model = scan(goldens, no_imgnorm=bool(no_image), no_txtnorm=bool(no_text))
    close(scored(model, arrays), arrays[f"noimg{no_image}_notxt{no_text}.t2i_Mean.sims"])


def test_scoring_in_float64_as_the_authors_evaluate(goldens, arrays):
    model = scan(goldens, "t2i_LogSumExp_lse6")
    images, texts = (code.map(lambda t: t.double() if t.is_floating_point() else t) for code in encoded(model, arrays))
    close(model.score_block(images, texts), arrays["eval64.t2i_LogSumExp_lse6.sims"], 1e-6)


def test_one_direction_of_the_words(goldens):
    arrays = np.load(goldens / "scan" / "scan_gru_eval.npz")
    for direction in LAMBDAS:
        model = scan(goldens, f"{direction}_Mean", "scan_gru")
        assert model.config.text_direction == "forward"
        images, texts = encoded(model, arrays)
        close(images.local, arrays["img_emb"])
        close(texts.local, arrays["cap_emb"])
        close(scored(model, arrays), arrays[f"{direction}_Mean.sims"])


@pytest.mark.parametrize(
    "names",
    [
        {"weight_g": "weight_g", "weight_v": "weight_v"},
        {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"},
    ],
)
def test_a_weight_normalised_region_layer(goldens, arrays, names):
    file = read_checkpoint(goldens / "scan" / "scan_bigru.pth")
    given = {key: torch.from_numpy(arrays[f"weight_norm.param.fc.{key}"]) for key in ("bias", "weight_g", "weight_v")}
    layer = {f"fc.{names.get(key, key)}": tensor for key, tensor in given.items()}
    model = IMPORTERS["scan"]([layer, file.states[1]], file.options, "here").build("here")
    with torch.no_grad():
        close(model.encode_images(inputs(arrays)[0]).local, arrays["weight_norm.img_emb"])
