"""What HSC alone promises: layers that begin as the identity, own lengths, its checkpoints in every layout."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions, Tokens
from crossgraph.models.base import Inputs
from crossgraph.models.hsc import HSC, HSCConfig
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint
from crossgraph.models.sgraf import SAF, SAFConfig
from crossgraph.text.word_attention import WordAttention

SIZES = {"embed_size": 8, "word_size": 6, "sim_size": 4}
INPUTS = Inputs(5, 20)


@pytest.fixture
def checkpoint(goldens):
    return torch.load(goldens / "hsc" / "hsc.pth", weights_only=True)


def imported(content, path):
    torch.save(content, path)
    file = read_checkpoint(path)
    return IMPORTERS["hsc"](file.states, file.options, str(path)).build(str(path))


def test_a_new_region_graph_changes_nothing_and_a_trained_one_does():
    torch.manual_seed(0)
    model = HSC(HSCConfig(**SIZES), INPUTS).eval()
    regions = Regions(torch.randn(3, 4, 5), torch.ones(3, 4, dtype=torch.bool))
    with torch.no_grad():
        plain = model.project_regions(regions.features)
        assert torch.equal(model.embed_regions(regions), plain)
        for layer in model.hierarchy:
            layer.norm.weight.fill_(1.0)
        assert (model.embed_regions(regions) - plain).abs().max() > 1e-2


def test_without_its_layers_it_is_saf():
    torch.manual_seed(0)
    model = HSC(HSCConfig(**SIZES, region_layers=0, word_layers=0), INPUTS).eval()
    saf = SAF(SAFConfig(**SIZES), INPUTS).eval()
    saf.load_state_dict(model.state_dict())
    regions = Regions(torch.randn(3, 4, 5), torch.ones(3, 4, dtype=torch.bool))
    tokens = Tokens(torch.randint(1, 20, (2, 6)), torch.tensor([6, 4]))
    with torch.no_grad():
        one, other = (m.score_block(m.encode_images(regions), m.encode_texts(tokens)) for m in (model, saf))
    assert torch.equal(one, other)


def test_words_take_products_over_their_caption_s_own_length():
    torch.manual_seed(0)
    layer, words = WordAttention(6, 0.0), torch.randn(1, 5, 6)
    mask = torch.tensor([[True, True, True, False, False]])
    x = words[0, :3]
    with torch.no_grad():
        local, overall, value = (torch.tanh(part(x)) for part in (layer.local, layer.overall, layer.value))
        expected = torch.stack([x[i] + sum((local[i] @ overall[j]) * value[j] for j in range(3)) / 3 for i in range(3)])
        torch.testing.assert_close(layer(words, mask)[0, :3], expected)


def test_every_layout_of_a_checkpoint_is_the_same_model(checkpoint, tmp_path):
    plain = imported(checkpoint, tmp_path / "plain.pth")
    sides = ("img_enc", "txt_enc", "sim_enc")
    wrapped = [{f"module.{key}": tensor for key, tensor in state.items()} for state in checkpoint["model"]]
    merged = {key: tensor for state in checkpoint["model"] for key, tensor in state.items()}
    named = {
        f"{side}.module.{key}": tensor
        for side, state in zip(sides, checkpoint["model"], strict=True)
        for key, tensor in state.items()
    }
    for model in (wrapped, merged, named):
        content = {**checkpoint, "model": model, "opt": argparse.Namespace(**checkpoint["opt"])}
        again = imported(content, tmp_path / "again.pth")
        assert again.config == plain.config
        assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in plain.state_dict().items())


@pytest.mark.parametrize(
    "place, key, value, words",
    [
        (0, "fc.weight", None, "lacks"),
        (0, "IM_GCN_2.theta3.weight", None, "shape"),
        (0, "IM_GCN_3.fc1.bias", None, "lacks what we call hierarchy.2.mix_query.bias"),
        (0, "IM_GCN_1.phi1.weight", torch.zeros(8, 7, 1), "heads of a graph layer do not fit"),
        (0, "IM_GCN_0.g.weight", torch.zeros(32, 32, 1), "does not know the tensor 'IM_GCN_0.g.weight'"),
        (1, "W_att2.embedding_v.0.weight", None, "lacks"),
        (1, "embed.weight", torch.zeros(()), "lacks|shape"),
        (1, "cap_rnn.weight_hh_l0", torch.full((96, 32), float("inf")), "infinity"),
        (2, "v_global_w.embedding_local.1.weight", None, "lacks"),
        (2, "surprise.weight", torch.zeros(3), "does not know the tensor 'surprise.weight'"),
    ],
)
def test_a_tensor_missing_unknown_misshapen_or_infinite_is_named(checkpoint, tmp_path, place, key, value, words):
    states = [dict(state) for state in checkpoint["model"]]
    states[place].pop(key, None)
    if value is not None:
        states[place][key] = value
    with pytest.raises(InputError, match=words) as caught:
        imported({**checkpoint, "model": states}, tmp_path / "file.pth")
    assert str(tmp_path / "file.pth") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_model_s_file_is_refused(checkpoint, goldens, tmp_path):
    for family, name in (("sgraf", "sgr_bigru"), ("cgmn", "cgmn_iou1"), ("camp", "camp_gate_fusion")):
        path = goldens / family / f"{name}.pth"
        with pytest.raises(InputError):
            imported(torch.load(path, weights_only=True), tmp_path / "file.pth")
    with pytest.raises(InputError, match="holds 2 state dicts"):
        imported({**checkpoint, "model": checkpoint["model"][:2]}, tmp_path / "file.pth")


def test_the_command_makes_a_run_of_it(goldens, tmp_path, capsys):
    from crossgraph.cli.main import main

    vocabulary = goldens / "sgraf" / "dataset" / "vocab" / "tiny_precomp_vocab.json"
    run = tmp_path / "run"
    line = ["import", "hsc", str(goldens / "hsc" / "hsc.pth"), "--vocab", str(vocabulary), "--out", str(run)]
    assert main(line) == 0
    assert f"7 regions × 64, 50 words -> {run}" in capsys.readouterr().out
    assert json.loads((run / "run.json").read_text())["config"]["region_norm"] == "region"


@pytest.mark.parametrize(
    "choices, words",
    [
        ({"region_layers": -1}, "model.config.region_layers is -1"),
        ({"word_layers": -2}, "model.config.word_layers is -2"),
        ({"word_attention_dropout": 1.0}, "model.config.word_attention_dropout is 1"),
        ({"nodes": "global"}, "leaves SAF one node"),
    ],
)
def test_what_makes_no_model_is_refused(choices, words):
    with pytest.raises(InputError, match=words):
        HSCConfig(**choices)
