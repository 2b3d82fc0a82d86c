"""What TSHSR alone promises: named a re-interpretation, two streams, three losses, an honest alignment."""

from __future__ import annotations

import json

import pytest
import torch
from references.published import one_pass

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.graphs.similarity_hierarchy import ContextLevel, HierarchicalReasoning
from crossgraph.losses import hinge
from crossgraph.models import tshsr
from crossgraph.models.base import Inputs
from crossgraph.models.published.checkpoint import IMPORTERS
from crossgraph.models.tshsr import TSHSR, TSHSRConfig

SIZES = {"embed_size": 8, "word_size": 6, "sim_size": 4}
INPUTS = Inputs(5, 20)


def model(**choices):
    torch.manual_seed(0)
    return TSHSR(TSHSRConfig(**SIZES, **choices), INPUTS).eval()


def pairs():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 4, 5, generator=generator)
    mask = torch.tensor([[True] * 4, [True] * 4, [True, True, True, False]])
    tokens = Tokens(torch.randint(1, 20, (3, 6), generator=generator), torch.tensor([6, 4, 3]))
    return Regions(features, mask), tokens


def codes(made):
    regions, tokens = pairs()
    with torch.no_grad():
        return made.encode_images(regions), made.encode_texts(tokens)


def grouped(*sides):
    return [side.map(lambda t: t[None]) for side in sides]


def test_it_says_what_it_is_in_the_list_and_its_paper(capfd):
    from crossgraph.cli.main import main

    assert TSHSR.status == "re-interpretation"
    assert "RE-INTERPRETATION" in (tshsr.__doc__ or "")
    assert main(["models", "--json"]) == 0
    (entry,) = [entry for entry in json.loads(capfd.readouterr().out) if entry["name"] == "tshsr"]
    assert entry["status"] == "re-interpretation" and "only the abstract" in entry["paper"]
    assert "tshsr" not in IMPORTERS


def test_the_score_is_the_mean_of_the_streams_or_their_learned_mixture():
    images, texts = codes(model())
    with torch.no_grad():
        streams = model().score_maps(*grouped(images, texts))
        assert set(streams) == {"t2i", "i2t"}
        mean = (streams["t2i"] + streams["i2t"]) / 2
        torch.testing.assert_close(model().score_block(images, texts), mean[0])
        learned = model(fusion="learned")
        learned.fusion.fill_(1.5)
        streams = learned.score_maps(*grouped(images, texts))
        share = torch.sigmoid(torch.tensor(1.5))
        expected = share * streams["t2i"] + (1 - share) * streams["i2t"]
        torch.testing.assert_close(learned.score_block(images, texts), expected[0])


def test_either_stream_can_stand_alone():
    both = model()
    images, texts = codes(both)
    for name in ("t2i", "i2t"):
        alone = model(streams=name)
        alone.load_state_dict(both.state_dict(), strict=False)
        with torch.no_grad():
            expected = both.score_maps(*grouped(images, texts))[name][0]
            torch.testing.assert_close(alone.score_block(images, texts), expected)


def test_the_fused_score_and_each_stream_have_a_loss_of_the_same_weight():
    regions, tokens = pairs()
    made = model()
    with torch.no_grad():
        terms, (images, texts) = one_pass(made, regions, tokens, "sum")
        streams = made.score_maps(*grouped(images, texts))
        half, _ = one_pass(model(stream_weight=0.5), regions, tokens, "sum")
        none, _ = one_pass(model(stream_weight=0.0), regions, tokens, "sum")
        single, _ = one_pass(model(streams="i2t"), regions, tokens, "sum")
    assert set(terms) == {"ranking", "ranking_t2i", "ranking_i2t"}
    assert set(none) == set(single) == {"ranking"}
    same = torch.eye(3, dtype=torch.bool)
    for name, scores in streams.items():
        torch.testing.assert_close(terms[f"ranking_{name}"], hinge(scores[0], same, 0.2, "sum"))
        torch.testing.assert_close(half[f"ranking_{name}"], terms[f"ranking_{name}"] / 2)


def test_the_alignment_is_the_mean_of_both_streams():
    made = model()
    images, texts = codes(made)
    image, text = images.select(slice(2, 3)), texts.select(slice(1, 2))
    with torch.no_grad():
        mixed = made.align(image, text)
        explained = [stream.explain(*grouped(image, text)) for stream in made.streams.values()]
    torch.testing.assert_close(mixed.weights, sum(weights for weights, _ in explained) / 2)
    torch.testing.assert_close(mixed.significance, sum(shares for _, shares in explained) / 2)
    assert mixed.weights.shape == (4, 4)
    assert (mixed.weights[:, 3] == 0).all(), "padding regions get nothing"
    assert 0.3 < float(mixed.significance.sum()) < 1


def test_a_level_reads_as_its_equations():
    torch.manual_seed(0)
    level, nodes = ContextLevel(4, 2, "add"), torch.randn(1, 1, 1, 5, 4)
    mask = torch.tensor([True, True, True, True, False])[None, None, None]
    x = nodes[0, 0, 0, :4]
    with torch.no_grad():
        step = level.interact
        edges = torch.softmax(step.query(x) @ step.key(x).T, dim=-1)
        x = x + torch.relu(step.update(edges @ x))
        torch.testing.assert_close(level.interact_locally(nodes, mask)[0, 0, 0, :4], x)
        shares = torch.softmax(level.queries @ x.T, dim=-1)
        taken = level.interact_locally(nodes, mask)
        torch.testing.assert_close(level.shares(taken, mask)[0, 0, 0, :, :4], shares)
        contexts = shares @ x
        seen = torch.softmax(level.ask(x) @ contexts.T, dim=-1) @ contexts
        weight = torch.cat([level.gate_node.weight, level.gate_context.weight], dim=1)
        gate = torch.sigmoid(torch.cat([x, seen], dim=1) @ weight.T + level.gate_node.bias)
        expected = x + gate * level.value(seen)
        torch.testing.assert_close(level.co_exploit(x[None, None, None], contexts[None, None, None])[0, 0, 0], expected)


def test_significance_is_shared_out_among_real_nodes():
    torch.manual_seed(0)
    reasoning = HierarchicalReasoning(4, [3, 2], "add")
    mask = torch.tensor([True, True, True, False])[None, None, None]
    with torch.no_grad():
        shares = reasoning.significance(torch.randn(1, 3, 2, 4, 4), mask)
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(1, 3, 2))
    assert (shares[..., 3] == 0).all()


def test_context_nodes_are_halved_level_by_level_and_never_none():
    counts = [[len(level.queries) for level in s.reasoning.levels] for s in model(levels=5).streams.values()]
    assert counts == [[8, 4, 2, 1, 1]] * 2


@pytest.mark.parametrize(
    "choices, words",
    [
        ({"levels": 0}, "model.config.levels is 0"),
        ({"context_nodes": 0}, "model.config.context_nodes is 0"),
        ({"dropout": 1.0}, "model.config.dropout is 1"),
        ({"stream_weight": float("nan")}, "model.config.stream_weight is nan"),
        ({"stream_weight": -1.0}, "model.config.stream_weight is -1"),
        ({"streams": "t2i", "fusion": "learned"}, "one stream needs no weight"),
    ],
)
def test_what_makes_no_model_is_refused(choices, words):
    with pytest.raises(InputError, match=words):
        TSHSRConfig(**choices)
