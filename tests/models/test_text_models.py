"""Every model that takes one reads its captions through a pretrained text model as well, where one asks for it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from references.published import one_pass
from references.tiny_transformers import save_text_model

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.gsmn import GSMNConfig
from crossgraph.text.choice import TextChoice, find_text_encoder
from crossgraph.text.transformer import TransformerTextEncoder, read_architecture

TAKERS = sorted(name for name in MODELS if issubclass(MODELS[name].Config, TextChoice))


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "bert"
    save_text_model(folder, [f"w{row}" for row in range(20)])
    return read_architecture(folder)[1]


def make(name, architecture, training):
    torch.manual_seed(0)
    family = MODELS[name]
    fields = {item.name for item in dataclasses.fields(family.Config)}
    sizes = {"embed_size": 16, "word_size": 6, "sim_size": 4, "dropout": 0.0}
    text = {"text_encoder": "transformer", "text_training": training, "text_architecture": architecture}
    return family(family.Config(**{k: v for k, v in sizes.items() if k in fields}, **text), Inputs(5, 20))


def pairs():
    generator = torch.Generator().manual_seed(1)
    low = torch.rand(3, 4, 2, generator=generator) / 3
    features = torch.randn(3, 4, 5, generator=generator)
    regions = Regions(features, torch.ones(3, 4, dtype=torch.bool), torch.cat([low, low + 0.4], dim=-1))
    return regions, Tokens(torch.randint(1, 20, (3, 6), generator=generator), torch.tensor([6, 4, 3]))


def test_the_models_that_take_one_are_these():
    assert {"sgr", "saf", "hsc", "tshsr", "scan", "bfan", "imram", "pfan", "gsmn", "camp"} <= set(TAKERS)
    assert {"cgmn", "gpo", "vsepp", "vsepp-order", "vsrn"} <= set(TAKERS)


@pytest.mark.parametrize("name", TAKERS)
def test_a_fine_tuned_text_model_learns_and_a_frozen_one_does_not(name, architecture):
    regions, tokens = pairs()
    for training in ("frozen", "fine-tuned"):
        model = make(name, architecture, training).train()
        encoder = find_text_encoder(model)
        assert isinstance(encoder, TransformerTextEncoder)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        terms, _ = one_pass(model, regions, tokens, "sum")
        torch.stack(list(terms.values())).sum().backward()
        assert encoder.project.weight.grad is not None and encoder.project.weight.grad.abs().max() > 0
        learned = [parameter.grad is not None for parameter in encoder.backbone.parameters()]
        assert all(learned) if training == "fine-tuned" else not any(learned)
        listed = {key for key in model.dead_parameters() if key.startswith("encode_words.")}
        assert bool(listed) == (training == "fine-tuned"), "the biases of keys, under a softmax"


@pytest.mark.parametrize("name", TAKERS)
def test_a_caption_alone_scores_as_in_a_batch(name, architecture):
    regions, tokens = pairs()
    model = make(name, architecture, "frozen").eval()
    with torch.no_grad():
        images = model.encode_images(regions)
        together = model.score_block(images, model.encode_texts(tokens))
        alone = Tokens(tokens.ids[2:, :3], tokens.lengths[2:])
        torch.testing.assert_close(model.score_block(images, model.encode_texts(alone))[:, 0], together[:, 2])


def test_grammar_of_pieces_is_refused(architecture):
    with pytest.raises(InputError, match="grammar joins words"):
        GSMNConfig(messages="sparse", text_encoder="transformer", text_architecture=architecture)
