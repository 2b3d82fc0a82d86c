"""SGRAF's ablations compute what the specification says, and what cannot be is refused by name."""

from __future__ import annotations

import itertools

import pytest
import torch
from references.sgraf import all_scores

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import MODELS, Batch, Inputs, Progress
from crossgraph.models.sgraf_ablations import SGRAFJoint

SIZES = {"embed_size": 16, "word_size": 12, "sim_size": 8}

SENSIBLE = [
    (name, {"nodes": nodes, "attention": attention, **more})
    for name, nodes, attention, more in [
        *itertools.product(["sgr"], ["both", "local"], ["t2i", "i2t"], [{"steps": 0}, {"steps": 1}, {"steps": 3}]),
        ("sgr", "global", "t2i", {"steps": 0}),
        *itertools.product(["saf", "sgraf-joint"], ["both", "local"], ["t2i", "i2t"], [{}]),
        *itertools.product(
            ["sgraf-average"], ["both", "local"], ["t2i", "i2t"], [{"similarity": "vector"}, {"similarity": "scalar"}]
        ),
        *itertools.product(
            ["sgraf-average"], ["global"], ["t2i"], [{"similarity": "vector"}, {"similarity": "scalar"}]
        ),
    ]
]


def build(name, **choices):
    """A model in evaluation mode whose running statistics are not those of a fresh one."""
    torch.manual_seed(0)
    model = MODELS[name](MODELS[name].Config(**(SIZES | choices)), Inputs(10, 20)).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith(("running_var", "running_mean", "bias")):
                tensor.uniform_(0.2, 0.9)
    return model


def data(images=4, regions=6):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(images, regions, 10, generator=generator)
    lengths = torch.tensor([7, 2, 5])
    ids = torch.randint(1, 20, (3, 7), generator=generator)
    return Regions(features, torch.ones(images, regions, dtype=torch.bool)), Tokens(ids, lengths)


def encode(model):
    regions, tokens = data()
    with torch.no_grad():
        return model.encode_images(regions), model.encode_texts(tokens)


@pytest.mark.parametrize("name, choices", SENSIBLE, ids=lambda value: value if isinstance(value, str) else str(value))
def test_the_batched_form_equals_one_caption_at_a_time(name, choices):
    model = build(name, **choices)
    images, texts = encode(model)
    with torch.no_grad():
        torch.testing.assert_close(
            model.score_block(images, texts), all_scores(model, images, texts), rtol=0, atol=1e-5
        )


def test_without_a_global_node_nothing_global_is_built_or_encoded():
    model = build("sgr", nodes="local")
    assert not [key for key in model.state_dict() if "global" in key]
    images, texts = encode(model)
    assert images.parts == texts.parts == {}


def test_the_global_node_alone_looks_at_no_single_word():
    model = build("sgr", nodes="global", steps=0)
    assert not [key for key in model.state_dict() if "local_similarity" in key or "reasoning" in key]
    images, texts = encode(model)
    with torch.no_grad():
        found = model.align(images.select(slice(1)), texts.select(slice(1)))
    torch.testing.assert_close(found.weights, torch.full((7, 6), 1 / 6))
    assert found.significance.abs().max() == 0


def test_cosines_leave_nothing_to_learn_behind_the_encoders():
    model = build("sgraf-average", similarity="scalar")
    assert {key.split(".")[0] for key in model.state_dict()} == {"project_regions", "encode_words"}


def aligned(model, row=1):
    images, texts = encode(model)
    with torch.no_grad():
        return model.align(images.select(slice(2, 3)), texts.select(slice(row, row + 1)))


@pytest.mark.parametrize(
    "name, choices, total",
    [
        ("saf", {"attention": "i2t", "nodes": "local"}, 1.0),
        ("sgr", {"attention": "i2t", "nodes": "local"}, 1.0),
        ("sgraf-average", {"attention": "i2t"}, 1.0),
        ("sgraf-average", {"attention": "i2t", "nodes": "both"}, 6 / 7),  # of seven nodes one is global
        ("sgraf-average", {}, 1.0),
    ],
)
def test_where_regions_look_their_significance_is_handed_on_to_the_words(name, choices, total):
    found = aligned(build(name, **choices))
    torch.testing.assert_close(found.weights.sum(dim=1), torch.ones(2))
    assert float(found.significance.sum()) == pytest.approx(total, abs=1e-5)


def test_where_regions_look_a_word_s_row_is_its_share_of_their_looks():
    from crossgraph.graphs.cross_attention import cross_attention

    model = build("sgraf-average", attention="i2t")
    images, texts = encode(model)
    sides = images.local[None], images.mask[None], texts.local[None], texts.mask[None]
    looks = cross_attention(*sides, 9.0, "i2t")
    looks = looks[0, 2, 1, :, :2]  # picture 2, caption 1 of two words
    found = aligned(model)
    torch.testing.assert_close(found.weights, (looks / looks.sum(dim=0)).T)
    torch.testing.assert_close(found.significance, looks.mean(dim=0))


def test_joint_training_ranks_each_head_by_itself_and_infers_by_their_mean():
    model = build("sgraf-joint")
    regions, tokens = data(images=3)
    images, texts = encode(model)
    images = images.select(slice(3))
    seen = []

    def ranking(scores):
        seen.append(scores.detach())
        return scores.sum()

    terms = model.losses(images, texts, Batch(regions, tokens, torch.arange(3)), ranking, Progress())
    assert list(terms) == ["ranking_sgr", "ranking_saf"]
    assert not torch.allclose(seen[0], seen[1])
    with torch.no_grad():
        torch.testing.assert_close(model.score_block(images, texts), (seen[0] + seen[1]) / 2)
    for own, other in (("sgr", "saf"), ("saf", "sgr")):
        model.zero_grad()
        losses = model.losses(
            model.encode_images(regions), model.encode_texts(tokens), Batch(regions, tokens, torch.arange(3)),
            lambda scores: scores.sum(), Progress(),
        )  # fmt: skip
        losses[f"ranking_{own}"].backward()
        learns = {key.split(".")[0] for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert f"{own}_to_score" in learns and f"{other}_to_score" not in learns
        assert {"project_regions", "encode_words", "local_similarity", "global_similarity"} <= learns


def test_the_joint_model_s_heads_are_sgr_and_saf():
    joint = build("sgraf-joint")
    assert isinstance(joint, SGRAFJoint)
    images, texts = encode(joint)
    grouped = images.map(lambda t: t[None]), texts.map(lambda t: t[None])
    with torch.no_grad():
        heads = joint.read_heads(joint.compare(*grouped))
        for name, head in heads.items():
            alone = build(name)
            mine = {key.replace(f"{name}_to_score", "to_score"): value for key, value in joint.state_dict().items()}
            alone.load_state_dict({key: mine[key] for key in alone.state_dict()})
            torch.testing.assert_close(alone.score(*grouped), head)


@pytest.mark.parametrize(
    "name, choices, words",
    [
        ("sgr", {"similarity": "scalar"}, "similarity 'scalar': SGR reasons over"),
        ("saf", {"similarity": "scalar"}, "similarity 'scalar': SAF weighs"),
        ("sgraf-joint", {"similarity": "scalar"}, "similarity 'scalar'"),
        ("sgr", {"nodes": "global"}, "steps 3 with model.config.nodes 'global'"),
        ("saf", {"nodes": "global"}, "nodes 'global' leaves SAF one node"),
        ("sgraf-joint", {"nodes": "global", "steps": 0}, "nodes 'global' leaves SAF one node"),
        ("sgr", {"nodes": "global", "steps": 0, "attention": "i2t"}, "'i2t' with model.config.nodes 'global'"),
        ("sgraf-joint", {"steps": -2}, "steps is -2"),
        ("sgraf-average", {"sim_size": 0}, "sim_size is 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_the_fields_are_named(name, choices, words):
    with pytest.raises(InputError, match=words) as caught:
        MODELS[name].Config(**choices)
    assert "\n" not in str(caught.value)
