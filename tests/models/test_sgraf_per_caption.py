"""The form that speed is measured from gives the scores of every other."""

from __future__ import annotations

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.sgraf_per_caption import per_caption_scores


def build(name, **choices):
    torch.manual_seed(0)
    return MODELS[name](MODELS[name].Config(embed_size=16, word_size=6, **choices), Inputs(7, 20)).eval()


@pytest.mark.parametrize("name", ["sgr", "saf"])
def test_it_scores_as_the_model_does(name):
    model = build(name)
    lengths = torch.tensor([3, 6, 2])
    with torch.inference_mode():
        images = model.encode_images(Regions(torch.randn(4, 5, 7), torch.ones(4, 5, dtype=torch.bool)))
        texts = model.encode_texts(Tokens(torch.randint(4, 20, (3, 6)), lengths))
        found = per_caption_scores(model, images, texts)
        torch.testing.assert_close(found, model.score_block(images, texts), rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", [build("sgr", attention="i2t"), build("scan"), build("saf", nodes="local")])
def test_another_form_is_refused(model):
    with pytest.raises(InputError, match="published choices"):
        images = model.encode_images(Regions(torch.randn(1, 2, 7), torch.ones(1, 2, dtype=torch.bool)))
        per_caption_scores(
            model, images, model.encode_texts(Tokens(torch.ones(1, 2, dtype=torch.long), torch.tensor([2])))
        )
