"""A sieve in training: it comes to order pairs as the re-ranker does, from galleries of train alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from references.tiny_matcher import FEATURE_SIZE, TinyConfig, TinyMatcher, tiny_model, tiny_split
from references.tiny_run import WORDS, write_tiny_run

from crossgraph.bundle import load_bundle
from crossgraph.bundle_training.late_interaction_training import (
    Gallery,
    LateInteractionRecipe,
    distillation_loss,
    standardise,
    train_late_interaction,
)
from crossgraph.bundle_training.make import BundleRequest, make_bundle
from crossgraph.cascade.candidate_margins import fingerprint, read_margins
from crossgraph.cli.main import main
from crossgraph.core.errors import InputError
from crossgraph.models.base import MODELS, Inputs
from crossgraph.runs import Run, RunInfo, describe_model, save_run
from crossgraph.scoring.encode import SplitCodes, encode_split
from crossgraph.scoring.engine import rows_by, score_split
from crossgraph.text.vocabulary import Vocabulary

SMALL = LateInteractionRecipe(size=4, galleries=2, pictures=8, steps=3, batch=6)


def test_it_learns_what_the_reranker_says_of_pictures_it_never_saw():
    _, vocabulary = tiny_model()
    model = TinyMatcher(TinyConfig(16), Inputs(FEATURE_SIZE, len(vocabulary)))
    run = Run(model, vocabulary, RunInfo("tiny", {}, {}), Path("tiny"))
    train, other = tiny_split(60, seed=1), tiny_split(12, seed=2)
    heard = []
    recipe = LateInteractionRecipe(size=8, galleries=3, pictures=40, steps=200, batch=32)
    sieve, found = train_late_interaction(run, train, recipe, lambda *told: heard.append(told))
    codes = encode_split(model, vocabulary, other)
    rows = np.concatenate(list(rows_by(sieve, sieve, SplitCodes(codes.images, codes.texts))))
    correlation = np.corrcoef(rows.ravel(), score_split(model, vocabulary, other).ravel())[0, 1]
    assert correlation > 0.5, "of six hundred random pairs; a sieve that learned nothing has about 0"
    assert found["correlation"] > 0.6
    assert heard[-1] == ("steps", 200, 200)
    pairs = [done for what, done, _ in heard if what == "pairs"]
    assert pairs == sorted(pairs) and pairs[-1] == 3 * 40 * 40


def test_perfect_agreement_costs_nothing_and_anything_else_something():
    torch.manual_seed(0)
    wanted = torch.randn(5, 7)
    assert float(distillation_loss(wanted, wanted, SMALL)) == pytest.approx(0, abs=1e-6)
    assert float(distillation_loss(wanted.flip(0), wanted, SMALL)) > 0.1


def test_probabilities_are_learned_as_logits_and_other_scores_as_they_are():
    def gallery(scores: torch.Tensor) -> Gallery:
        return Gallery(None, [], scores)  # pyright: ignore[reportArgumentType]

    logits = torch.randn(2, 20, 20)
    as_logits = [one.scores for one in standardise([gallery(torch.sigmoid(part)) for part in logits])]
    expected = (logits - logits.mean()) / logits.std(correction=0)
    torch.testing.assert_close(torch.stack(as_logits), expected, atol=1e-4, rtol=1e-4)
    saturated = torch.sigmoid(logits)
    saturated[0, 0, 0], saturated[1, 0, 0] = 0.0, 1.0  # as float32 has them of large logits
    found = torch.stack([one.scores for one in standardise([gallery(part) for part in saturated])])
    assert float(torch.corrcoef(torch.stack([found.flatten()[1:400], logits.flatten()[1:400]]))[0, 1]) > 0.9999
    plain = [one.scores for one in standardise([gallery(part) for part in logits])]
    torch.testing.assert_close(torch.stack(plain), expected, atol=1e-5, rtol=1e-5)


def test_a_bundle_keeps_its_sieve_and_refuses_another_ones_file(data, tmp_path):
    run = write_tiny_run(tmp_path / "run")
    request = BundleRequest(run, data, tmp_path / "bundle", sieve=SMALL)
    request = dataclasses.replace(request, recipe=dataclasses.replace(request.recipe, index_size=8, max_steps=2))
    made = make_bundle(request, log=lambda _: None)
    assert made.late_interaction is not None and made.late_interaction.config.size == 4
    about = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["made"]
    assert about["sieve"]["steps"] == 3 and -1 <= about["sieve"]["correlation"] <= 1
    again = load_bundle(tmp_path / "bundle")
    margins = read_margins(again.path)
    assert margins is not None
    assert (margins.dev, margins.bundle) == (about["data"]["dev"], fingerprint(again))
    for name, tensor in made.late_interaction.state_dict().items():
        torch.testing.assert_close(again.late_interaction.state_dict()[name], tensor)
    spoilt = Path(shutil.copytree(tmp_path / "bundle", tmp_path / "spoilt"))
    (spoilt / "sieve.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="not the file"):
        load_bundle(spoilt)


def test_scores_that_are_all_alike_end_without_a_correlation():
    _, vocabulary = tiny_model()
    model = TinyMatcher(TinyConfig(16), Inputs(FEATURE_SIZE, len(vocabulary)))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    run = Run(model, vocabulary, RunInfo("tiny", {}, {}), Path("tiny"))
    _, found = train_late_interaction(run, tiny_split(6), SMALL, lambda *_: None)
    assert found == {"correlation": None, "steps": 3}


def test_one_picture_teaches_nothing_and_is_refused():
    model, vocabulary = tiny_model()
    run = Run(model, vocabulary, RunInfo("tiny", {}, {}), Path("tiny"))
    with pytest.raises(InputError, match="two or more"):
        train_late_interaction(run, tiny_split(1), SMALL, lambda *_: None)


@pytest.mark.parametrize("values", [{"size": 1}, {"steps": 0}, {"batch": 1}, {"pictures": 1}, {"galleries": 0}])
def test_a_recipe_that_trains_nothing_is_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        LateInteractionRecipe(**values)


def test_an_independent_model_needs_none(data, tmp_path, capfd):
    model = MODELS["vsepp"](MODELS["vsepp"].Config(embed_size=8, word_size=6), Inputs(6, 15))
    vocabulary = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *WORDS])
    info = RunInfo("vsepp", **describe_model(model), region_encoder="tiny")
    save_run(tmp_path / "run", model, vocabulary, info)
    assert main(["bundle", str(tmp_path / "run"), "--data", str(data), "--out", str(tmp_path / "out"), "--sieve"]) == 2
    assert "leave --sieve out" in capfd.readouterr().err.splitlines()[-1]
