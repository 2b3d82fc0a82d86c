"""The published checkpoints of models with one vector a side: every layout is taken, whatever is wrong is one line."""

from __future__ import annotations

import argparse

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint

FILES = {"cgmn": "cgmn_iou1", "vsepp": "vsepp", "vsrn": "vsrn_f30k", "gpo": "gpo_bigru"}


@pytest.fixture(params=FILES)
def family(request):
    return request.param


@pytest.fixture
def checkpoint(goldens, family):
    return torch.load(goldens / family / f"{FILES[family]}.pth", weights_only=True)


def imported(family, content, path):
    torch.save(content, path)
    file = read_checkpoint(path)
    return IMPORTERS[family](file.states, file.options, str(path)).build(str(path))


def test_several_gpus_and_a_namespace_make_the_same_model(family, checkpoint, tmp_path):
    plain = imported(family, checkpoint, tmp_path / "plain.pth")
    wrapped = [{f"module.{key}": tensor for key, tensor in state.items()} for state in checkpoint["model"]]
    other = {**checkpoint, "model": wrapped, "opt": argparse.Namespace(**checkpoint["opt"])}
    again = imported(family, other, tmp_path / "again.pth")
    assert again.config == plain.config
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in plain.state_dict().items())


@pytest.mark.parametrize(
    "place, key, value, words",
    [
        (0, "fc.weight", None, "lacks"),
        (0, "fc.bias", None, "lacks"),
        (1, "rnn.weight_hh_l0", None, "lacks"),
        (1, "embed.weight", torch.zeros(()), "lacks|shape"),
        (0, "fc.weight", torch.zeros(3, 64), "shape"),
        (0, "fc.weight", torch.full((32, 64), float("nan")), "NaN"),
        (1, "surprise.weight", torch.zeros(3), "does not know the tensor 'surprise.weight'"),
    ],
)
def test_a_tensor_missing_unknown_misshapen_or_nan_is_named(family, checkpoint, tmp_path, place, key, value, words):
    states = [dict(state) for state in checkpoint["model"]]
    states[place].pop(key, None)
    if value is not None:
        states[place][key] = value
    with pytest.raises(InputError, match=words) as caught:
        imported(family, {**checkpoint, "model": states}, tmp_path / "file.pth")
    assert str(tmp_path / "file.pth") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_state_dicts_and_another_model_s_are_refused(family, checkpoint, goldens, tmp_path):
    other = torch.load(goldens / "sgraf" / "sgr_bigru.pth", weights_only=True)
    for states in ([], checkpoint["model"][:1], other["model"]):
        with pytest.raises(InputError):
            imported(family, {**checkpoint, "model": states}, tmp_path / "file.pth")


@pytest.mark.parametrize(
    "family, key, words",
    [
        ("vsepp", "cnn.module.conv1.weight", "a whole network"),
        ("gpo", "bert.embeddings.weight", "its words are BERT's"),
    ],
)
def test_branches_that_are_not_read_are_named(goldens, tmp_path, family, key, words):
    content = torch.load(goldens / family / f"{FILES[family]}.pth", weights_only=True)
    place = 1 if family == "gpo" else 0
    content["model"][place][key] = torch.zeros(2)
    with pytest.raises(InputError, match=words):
        imported(family, content, tmp_path / "file.pth")
