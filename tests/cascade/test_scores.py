"""Evaluation by cascade: what the index brings up is scored, the rest stays behind, margins come from dev."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from references.tiny_bundle import write_tiny_bundle
from references.tiny_run import write_tiny_run, write_tiny_splits

from crossgraph.bundle.folder import load_bundle
from crossgraph.cascade import coarse_scores as choosing
from crossgraph.cascade import scores as cascading
from crossgraph.cascade.candidate_margins import TOLERANCE, CandidateMargins
from crossgraph.cascade.coarse_scores import coarse_scores, short_lists
from crossgraph.cascade.scores import cascade_scores
from crossgraph.cli.main import main
from crossgraph.data import open_data
from crossgraph.scoring.engine import score_split


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_splits(tmp_path_factory.mktemp("data"), {"dev": 16, "test": 30})


def evaluate(*words: object) -> int:
    return main(["evaluate", *(str(word) for word in words)])


@pytest.mark.parametrize("sieve", [False, True])
def test_a_bundle_is_evaluated_by_cascade_and_its_card_says_so(data, tmp_path, capfd, sieve):
    bundle = write_tiny_bundle(tmp_path / "bundle", sieve=sieve)
    assert evaluate(bundle, "--cascade", "--data", data, "--out", tmp_path / "card") == 0
    card = json.loads((tmp_path / "card" / "card.json").read_text())
    cascade = card["models"]["entries"][0]["cascade"]
    assert ("a sieve" in cascade["index"]) == sieve
    assert cascade["chosen_on_dev"]["difference"] <= TOLERANCE
    assert 0 < cascade["pairs_by_nearness"] + cascade["pairs_by_guess"] <= 30 * 150
    assert any("margins chosen on dev" in note for note in card["notes"])
    kept = json.loads((bundle / "cascade.json").read_text())
    assert evaluate(bundle, "--cascade", "--data", data, "--out", tmp_path / "again") == 0
    assert json.loads((bundle / "cascade.json").read_text()) == kept
    again = json.loads((tmp_path / "again" / "card.json").read_text())
    assert again["models"]["entries"][0]["cascade"] == cascade


@pytest.mark.parametrize("kept", [0, 1 << 28])
@pytest.mark.parametrize("sieve", [False, True])
def test_captions_in_parts_give_the_same_scores_and_the_rest_stays_behind(data, tmp_path, monkeypatch, sieve, kept):
    bundle, split = (
        load_bundle(write_tiny_bundle(tmp_path / "bundle", sieve=sieve)),
        open_data(data, log=lambda _: None).split("test"),
    )
    margins = CandidateMargins(0.0, 0.0, "", "", 0.0)
    monkeypatch.setattr(cascading, "FIRST_PICTURES", 8)
    monkeypatch.setattr(cascading, "FIRST_CAPTIONS", 20)
    whole, about = cascade_scores(bundle, split, margins, "float32", lambda _: lambda *_: None)
    heard = []
    monkeypatch.setattr(choosing, "CAPTIONS_PER_CHUNK", 47)
    monkeypatch.setattr(cascading, "CACHE_BYTES", kept)
    monkeypatch.setattr(choosing, "IMAGES_IN_MEMORY", 1)
    parts, again = cascade_scores(
        bundle, split, margins, "float32", lambda task: lambda *told: heard.append((task, told))
    )
    assert again == about
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    counts = {task: [told[1] for name, told in heard if name == task] for task, _ in heard}
    assert counts["encoding"][-1] == 150
    assert counts["scoring the nearest"][-1] == about["pairs_by_nearness"]
    assert counts["scoring what may be as good"][-1] == about["pairs_by_guess"]
    assert all(row == sorted(row) for row in counts.values())

    near = coarse_scores(bundle, split, lambda _: lambda *_: None).matrix
    scores = score_split(bundle.reranker.model, bundle.reranker.vocabulary, split)
    scored = np.isclose(whole, scores, atol=1e-5)
    assert scored.sum() == about["pairs_by_nearness"] + about["pairs_by_guess"] < scored.size
    for row, columns in enumerate(short_lists(near, 8, 20)):
        assert scored[row, columns].all()
    assert whole[~scored].max() < whole[scored].min()
    for row, left in enumerate(~scored):  # in the order of what brought the others up
        np.testing.assert_allclose(np.diff(whole[row, left]), np.diff(near[row, left]), atol=1e-4)


def test_a_broken_choice_is_made_again(data, tmp_path, capfd):
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (bundle / "cascade.json").write_text("{")
    assert evaluate(bundle, "--cascade", "--data", data, "--out", tmp_path / "card") == 0
    assert json.loads((bundle / "cascade.json").read_text())["difference"] <= TOLERANCE


def test_a_run_without_an_index_is_one_line(data, tmp_path, capfd):
    run = write_tiny_run(tmp_path / "run")
    assert evaluate(run, "--cascade", "--data", data) == 2
    assert "no index of its own" in capfd.readouterr().err.splitlines()[-1]


def test_several_bundles_or_scores_are_one_line(data, tmp_path, capfd):
    run = write_tiny_run(tmp_path / "run")
    assert evaluate(run, run, "--cascade", "--data", data) == 2
    assert "one bundle" in capfd.readouterr().err.splitlines()[-1]


def test_data_without_a_dev_split_is_one_line(data, tmp_path, capfd):
    bundle = write_tiny_bundle(tmp_path / "bundle")
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in data.glob("test_*"):
        (bare / path.name).write_bytes(path.read_bytes())
    assert evaluate(bundle, "--cascade", "--data", bare) == 2
    assert "no split 'dev'" in capfd.readouterr().err.splitlines()[-1]
