"""The list of methods: what is registered describes itself, what is not says why."""

from __future__ import annotations

import json

import pytest

from crossgraph.cli.main import main
from crossgraph.models.base import MODELS, Inputs
from crossgraph.models.catalogue import FLICKR30K, NOT_IMPLEMENTED, catalogue

SPECIFIED = ["cgmn", "hsc", "tshsr", "vsepp", "scan", "vsrn", "gpo", "bfan", "imram", "gsmn", "pfan", "camp"]
SPECIFIED += ["caan", "rdan", "dp-rnn", "mmca", "sgm", "sgr", "saf"]


def test_every_method_stands_in_it_once():
    names = [entry.name for entry in catalogue()]
    assert len(set(names)) == len(names)
    assert set(names) >= {*SPECIFIED, *MODELS}


def test_what_is_registered_has_its_size_and_the_rest_a_reason():
    for entry in catalogue():
        assert entry.kind in ("independent", "interaction") and entry.paper
        assert (entry.parameters is None) == (entry.name not in MODELS)
        assert (entry.status == NOT_IMPLEMENTED) == (entry.name not in MODELS)
        assert entry.note or entry.name in MODELS


def test_parameters_are_those_of_the_model_built_for_real():
    inputs = Inputs(feature_size=FLICKR30K.feature_size, vocabulary_size=FLICKR30K.vocabulary_size, regions=36)
    real = MODELS["saf"](MODELS["saf"].Config(), inputs)
    (entry,) = [entry for entry in catalogue() if entry.name == "saf"]
    assert entry.parameters == sum(parameter.numel() for parameter in real.parameters())


@pytest.mark.parametrize("words", [["models"], ["models", "--json"]])
def test_the_command_prints_it(words, capfd):
    assert main(words) == 0
    printed = capfd.readouterr().out
    assert "SGR" in printed and NOT_IMPLEMENTED in printed
    if "--json" in words:
        assert {entry["name"] for entry in json.loads(printed)} == {entry.name for entry in catalogue()}
