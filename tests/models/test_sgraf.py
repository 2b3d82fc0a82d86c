"""What SGR and SAF promise beyond what every model does."""

from __future__ import annotations

import pytest
import torch
from references.sgraf import all_scores

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import Inputs
from crossgraph.models.sgraf import SAF, SGR, SAFConfig, SGRConfig

SIZES = {"embed_size": 16, "word_size": 12, "sim_size": 8}


def data(images=4, regions=6):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(images, regions, 10, generator=generator)
    lengths = torch.tensor([7, 2, 5])
    ids = torch.randint(1, 20, (3, 7), generator=generator)
    return Regions(features, torch.ones(images, regions, dtype=torch.bool)), Tokens(ids, lengths)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_any_number_of_reasoning_steps_equals_the_plain_form(steps):
    torch.manual_seed(0)
    model = SGR(SGRConfig(**SIZES, steps=steps), Inputs(10, 20)).eval()
    regions, tokens = data()
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        torch.testing.assert_close(
            model.score_block(images, texts), all_scores(model, images, texts), rtol=0, atol=1e-6
        )


def test_the_last_step_s_shortcut_is_what_reasoning_on_all_nodes_gives():
    torch.manual_seed(0)
    model = SGR(SGRConfig(**SIZES), Inputs(10, 20)).eval()
    regions, tokens = data()
    with torch.no_grad():
        images, texts = model.encode_images(regions), model.encode_texts(tokens)
        pairs = model.compare(images.map(lambda t: t[None]), texts.map(lambda t: t[None]))
        nodes = pairs.nodes
        for step in model.reasoning.steps:
            nodes = step(nodes, nodes, pairs.mask)
        torch.testing.assert_close(model.aggregate(pairs), nodes[..., 0, :], rtol=0, atol=1e-6)


def test_saf_s_two_statistics_agree_in_evaluation_and_differ_in_training():
    torch.manual_seed(0)
    per_caption = SAF(SAFConfig(**SIZES, dropout=0.0), Inputs(10, 20))
    per_batch = SAF(SAFConfig(**SIZES, dropout=0.0, attention_statistics="per_batch"), Inputs(10, 20))
    per_batch.load_state_dict(per_caption.state_dict())
    regions, tokens = data()

    def scores(model):
        with torch.no_grad():
            return model.score_block(model.encode_images(regions), model.encode_texts(tokens))

    assert torch.equal(scores(per_caption.eval()), scores(per_batch.eval()))
    assert not torch.allclose(scores(per_caption.train()), scores(per_batch.train()), atol=1e-4)


def test_the_published_variant_takes_exactly_its_number_of_regions():
    model = SGR(SGRConfig(**SIZES, region_norm="region"), Inputs(10, 20, regions=6)).eval()
    model.encode_images(data(regions=6)[0])
    with pytest.raises(ValueError, match="exactly 6 regions"):
        model.encode_images(data(regions=7)[0])
    with pytest.raises(ValueError, match="fixed number of regions"):
        SGR(SGRConfig(**SIZES, region_norm="region"), Inputs(10, 20))


@pytest.mark.parametrize(
    "choice, words",
    [({"embed_size": 0}, "embed_size is 0"), ({"dropout": 1.0}, "dropout is 1"), ({"steps": -1}, "steps is -1")],
)
def test_impossible_sizes_are_refused_by_name(choice, words):
    with pytest.raises(InputError, match=words):
        SGRConfig(**choice)
