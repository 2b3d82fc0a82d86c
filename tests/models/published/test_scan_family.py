"""What the published files of SCAN and its successors have in common: how they are read, and what is refused."""

from __future__ import annotations

import argparse

import pytest
import torch

from crossgraph.core.errors import InputError
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.published.checkpoint import IMPORTERS, read_checkpoint

FILES = {"scan": "scan_bigru", "bfan": "bfan", "imram": "imram", "pfan": "pfan", "gsmn": "gsmn"}
FILES |= {"camp": "camp_gate_fusion_new"}
UNREAD = "graph_convolution_3.params"


@pytest.fixture(params=FILES)
def family(request):
    return request.param


@pytest.fixture
def checkpoint(goldens, family):
    return torch.load(goldens / family / f"{FILES[family]}.pth", weights_only=True)


def imported(family, path):
    file = read_checkpoint(path)
    return IMPORTERS[family](file.states, file.options, str(path)).build(str(path))


def saved(tmp_path, checkpoint, states, **changes):
    model = states if isinstance(checkpoint["model"], list) else states[0]
    torch.save({**checkpoint, "model": model, **changes}, tmp_path / "file.pth.tar")
    return tmp_path / "file.pth.tar"


def states_of(checkpoint):
    model = checkpoint["model"]
    return [dict(state) for state in (model if isinstance(model, list) else [model])]


def test_options_of_a_namespace_and_names_of_data_parallel_make_no_difference(tmp_path, goldens, family, checkpoint):
    states = [{f"module.{k.removeprefix('module.')}": v for k, v in state.items()} for state in states_of(checkpoint)]
    path = saved(tmp_path, checkpoint, states, opt=argparse.Namespace(**checkpoint["opt"]))
    one, other = imported(family, path), imported(family, goldens / family / f"{FILES[family]}.pth")
    assert one.config == other.config
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_file_without_options_is_read_by_its_tensors(tmp_path, family, checkpoint):
    model = imported(family, saved(tmp_path, checkpoint, states_of(checkpoint), opt={}))
    assert (model.config.embed_size, model.config.word_size) == (32, 16)
    assert (model.inputs.feature_size, model.inputs.vocabulary_size) == (64, 50)


def test_a_missing_an_unknown_and_a_broken_tensor_are_refused_in_one_line(tmp_path, family, checkpoint):
    for place, state in enumerate(states_of(checkpoint)):
        for name, tensor in state.items():
            if name == UNREAD:
                continue
            for change in ({}, {name: tensor.flatten()[:0]}, {name: tensor, "surplus.weight": tensor}):
                states = states_of(checkpoint)
                del states[place][name]
                states[place] |= change
                with pytest.raises(InputError) as caught:
                    imported(family, saved(tmp_path, checkpoint, states))
                assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "family, option, value",
    [
        ("scan", "agg_func", "Median"),
        ("scan", "cross_attn", "both"),
        ("bfan", "focal_type", "none"),
        ("imram", "model_mode", "half_IMRAM"),
        ("imram", "lambda_softmax", "nine"),
        ("imram", "iteration_step", 0),
        ("pfan", "raw_feature_norm", "l1norm"),
        ("gsmn", "lambda_softmax", 0.0),
        ("camp", "measure", "cosine"),
    ],
)
def test_an_option_that_no_model_has_is_refused(tmp_path, goldens, family, option, value):
    checkpoint = torch.load(goldens / family / f"{FILES[family]}.pth", weights_only=True)
    path = saved(tmp_path, checkpoint, states_of(checkpoint), opt={**checkpoint["opt"], option: value})
    with pytest.raises(InputError):
        imported(family, path)


@pytest.mark.parametrize(
    "family, field, value",
    [
        ("scan", "embed_size", 0),
        ("scan", "smooth", 0.0),
        ("bfan", "smooth", -1.0),
        ("imram", "steps", 0),
        ("pfan", "grid", 0),
        ("gsmn", "embed_size", 100),
        ("gsmn", "hidden_size", 12),
        ("camp", "word_size", 0),
    ],
)
def test_values_that_make_no_model_are_refused_by_name(family, field, value):
    with pytest.raises(InputError, match=f"model.config.{field} is {value:g}"):
        MODELS[family](MODELS[family].Config(**{field: value}), Inputs(8, 10))
