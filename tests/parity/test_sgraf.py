"""SGR and SAF give what their authors' code gives, array by array."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossgraph.core.types import Regions, Tokens
from crossgraph.losses import hinge
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint

HEADS = ["sgr", "saf"]


def build(goldens, name, **options):
    path = goldens / "sgraf" / f"{name}.pth"
    file = read_checkpoint(path)
    published = IMPORTERS["sgraf"](file.states, {**file.options, **options}, str(path))
    return published.build(str(path))


def inputs(arrays, captions=None):
    features = torch.from_numpy(arrays["images"])
    regions = Regions(features, torch.ones(features.shape[:2], dtype=torch.bool))
    ids, lengths = torch.from_numpy(arrays["captions"]), torch.from_numpy(arrays["lengths"])
    if captions is not None:
        regions, ids, lengths = regions.select(slice(captions)), ids[:captions], lengths[:captions]
    return regions, Tokens(ids, lengths)


def close(ours, golden, tolerance=1e-5):
    golden = np.asarray(golden)
    limit = tolerance * max(1.0, float(np.abs(golden).max(initial=0)))
    np.testing.assert_allclose(np.asarray(ours.detach()), golden, rtol=0, atol=limit)


@pytest.fixture(params=["sgr_bigru", "saf_bigru"])
def evaluated(request, goldens):
    arrays = np.load(goldens / "sgraf" / f"{request.param}_eval.npz")
    model = build(goldens, request.param)
    with torch.no_grad():
        regions, tokens = inputs(arrays)
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        pairs = model.compare(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))
    return model, arrays, images, texts, pairs


def test_both_encoders_and_the_scores(evaluated):
    model, arrays, images, texts, _ = evaluated
    close(images.local, arrays["img_emb"])
    close(texts.local, arrays["cap_emb"])
    close(images.parts["global"], arrays["img_glo"])
    close(texts.parts["global"], arrays["cap_glo"])
    close(model.score_block(images, texts), arrays["sims"])


def test_the_context_and_the_squared_differences(evaluated):
    from crossgraph.graphs.cross_attention import contexts_of_words

    _, arrays, images, texts, pairs = evaluated
    real = texts.mask[None, :, :, None]
    contexts = contexts_of_words(pairs.attention, images.local[None])[0]
    close(contexts * real, arrays["context"])
    close((contexts - texts.local[None]) ** 2 * real, arrays["loc_sqdiff"])
    close((images.parts["global"][:, None] - texts.parts["global"][None]) ** 2, arrays["glo_sqdiff"])


def test_the_nodes(evaluated):
    _, arrays, _, _, pairs = evaluated
    close((pairs.nodes * pairs.mask[..., None])[0], arrays["sim_emb"])


def test_the_similarity_vector(evaluated):
    model, arrays, _, _, pairs = evaluated
    with torch.no_grad():
        close(model.aggregate(pairs)[0], arrays["sim_vec"])


def test_every_reasoning_step_on_every_node(goldens):
    arrays = np.load(goldens / "sgraf" / "sgr_bigru_eval.npz")
    model = build(goldens, "sgr_bigru")
    with torch.no_grad():
        regions, tokens = inputs(arrays)
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        pairs = model.compare(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))
        nodes = pairs.nodes
        for number, step in enumerate(model.reasoning, start=1):
            nodes = step(nodes, nodes, pairs.mask)
            close((nodes * pairs.mask[..., None])[0], arrays[f"sgr_step{number}"])
        close(model.aggregate(pairs)[0], arrays["sim_vec"])


def test_the_filtration_s_attention(goldens):
    arrays = np.load(goldens / "sgraf" / "saf_bigru_eval.npz")
    model = build(goldens, "saf_bigru")
    with torch.no_grad():
        regions, tokens = inputs(arrays)
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        pairs = model.compare(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))
        logits = model.filtration.logits(pairs.nodes, pairs.mask)
    close((logits * pairs.mask)[0, :, :, None], arrays["saf_bn_out"])


@pytest.mark.parametrize("negatives, key", [("hardest", "loss_maxviol_1"), ("sum", "loss_maxviol_0")])
def test_the_losses_on_the_scores(evaluated, negatives, key):
    model, arrays, images, texts, _ = evaluated
    with torch.no_grad():
        loss = hinge(model.score_block(images, texts)[:6, :6], torch.eye(6, dtype=torch.bool), 0.2, negatives)
    assert float(loss) == pytest.approx(float(arrays[key]), rel=1e-5)


@pytest.mark.parametrize("name", ["sgr_bigru", "saf_bigru", "sgr_gru", "saf_gru"])
@pytest.mark.parametrize("no_image", [0, 1])
@pytest.mark.parametrize("no_text", [0, 1])
def test_the_norms_can_be_left_out(goldens, name, no_image, no_text):
    arrays = np.load(goldens / "sgraf" / f"{name}_eval.npz")
    prefix = f"noimg{no_image}_notxt{no_text}." if no_image or no_text else ""
    if f"{prefix}sims" not in arrays:
        assert name.endswith("_gru") and no_image != no_text, "the goldens hold all other combinations"
        return
    model = build(goldens, name, no_imgnorm=bool(no_image), no_txtnorm=bool(no_text))
    with torch.no_grad():
        regions, tokens = inputs(arrays)
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        scores = model.score_block(images, texts)
    close(images.local, arrays[f"{prefix}img_emb"])
    close(texts.local, arrays[f"{prefix}cap_emb"])
    close(scores, arrays[f"{prefix}sims"])
    for negatives, key in (("hardest", "loss_maxviol_1"), ("sum", "loss_maxviol_0")):
        loss = hinge(scores[:6, :6], torch.eye(6, dtype=torch.bool), 0.2, negatives)
        assert float(loss) == pytest.approx(float(arrays[f"{prefix}{key}"]), rel=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("negatives, suffix", [("hardest", "mv1"), ("sum", "mv0")])
def test_one_training_step(goldens, head, negatives, suffix):
    golden = np.load(goldens / "sgraf" / f"{head}_bigru_train_{suffix}.npz")
    arrays = np.load(goldens / "sgraf" / f"{head}_bigru_eval.npz")
    model = build(goldens, f"{head}_bigru").train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    regions, tokens = inputs(arrays, captions=6)
    scores = model.score_block(model.encode_images(regions), model.encode_texts(tokens))
    loss = hinge(scores, torch.eye(6, dtype=torch.bool), 0.2, negatives)
    loss.backward()
    close(scores, golden["sims"])
    assert float(loss.detach()) == pytest.approx(float(golden["loss"]), rel=1e-5)

    from crossgraph.models.published.sgraf import sgraf_key as our_key

    places = {"img": 0, "txt": 1, "sim": 2}
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    seen, squares = set(), 0.0
    for key in golden.files:
        kind, _, rest = key.partition(".")
        if kind not in ("grad", "buf") or not rest:
            continue
        side, _, theirs = rest.partition(".")
        name = our_key(f"{places[side]}.{theirs}")
        assert name is not None, key
        if kind == "buf":
            np.testing.assert_allclose(buffers[name].numpy(), golden[key], rtol=1e-5, atol=1e-6, err_msg=key)
            continue
        gradient = parameters[name].grad
        assert gradient is not None, name
        if name in model.dead_parameters():  # both hold nothing but rounding
            assert max(np.abs(golden[key]).max(), gradient.abs().max()) < 1e-5 * golden["grad_norm_before_clip"], name
        else:
            # The last step's edges are nearly uniform, so its query and key weights have gradients a
            # hundred-thousandth of the whole: float64 shows the golden itself off by 1e-3 of them.
            limit = 1e-4 * float(np.abs(golden[key]).max()) + 3e-8 * float(golden["grad_norm_before_clip"])
            np.testing.assert_allclose(gradient.numpy(), golden[key], rtol=0, atol=limit, err_msg=key)
        squares += float((gradient**2).sum())
        seen.add(name)
    assert seen == set(parameters), "every parameter has its golden gradient"
    assert squares**0.5 == pytest.approx(float(golden["grad_norm_before_clip"]), rel=1e-4)


def test_the_legacy_file_with_a_namespace_is_the_same_model(goldens):
    plain = read_checkpoint(goldens / "sgraf" / "sgr_bigru.pth")
    legacy = read_checkpoint(goldens / "sgraf" / "sgr_bigru_namespace_legacy.pth.tar")
    assert legacy.options["module_name"] == "SGR"
    for one, other in zip(plain.states, legacy.states, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("head", HEADS)
def test_the_batched_form_equals_the_plain_one(goldens, head):
    from references.sgraf import all_scores

    arrays = np.load(goldens / "sgraf" / f"{head}_bigru_eval.npz")
    model = build(goldens, f"{head}_bigru")
    with torch.no_grad():
        regions, tokens = inputs(arrays)
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        close(model.score_block(images, texts), all_scores(model, images, texts), 1e-6)


@pytest.mark.parametrize("size", [2, 5, 16])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("negatives, suffix", [("hardest", "mv1"), ("sum", "mv0")])
def test_the_hinge_and_its_gradient(goldens, size, margin, negatives, suffix):
    arrays = np.load(goldens / "sgraf" / "loss.npz")
    scores = torch.from_numpy(arrays[f"s{size}"]).requires_grad_()
    loss = hinge(scores, torch.eye(size, dtype=torch.bool), margin, negatives)
    loss.backward()
    key = f"s{size}.m{margin}.{suffix}"
    assert float(loss.detach()) == pytest.approx(float(arrays[f"{key}.loss"]), rel=1e-5)
    largest = max(float(np.abs(arrays[f"{key}.grad"]).max()), 1e-7)
    np.testing.assert_allclose(scores.grad.numpy(), arrays[f"{key}.grad"], rtol=0, atol=1e-4 * largest)
