"""What is fastest is tried once and remembered; no cache folder, however broken, stops a command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from references.tiny_matcher import tiny_model, tiny_split

from crossgraph.core.errors import InputError
from crossgraph.scoring import tuning
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.engine import ScoringOptions, score_split
from crossgraph.scoring.tuning import Tuned, cache_file, choose_precision, read_cached, sample, tune, write_cached

FOUND = Tuned({"float32": 1 << 20, "bfloat16": 1 << 22}, {"float32": 4e-6, "bfloat16": 1e-6}, 1e-4)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tuning, "BUDGETS", (1 << 10, 1 << 12))


def test_a_small_job_is_not_worth_a_trial():
    (model, vocabulary), split = tiny_model(), tiny_split()
    assert choose_precision(model, vocabulary, split) == ("float32", BlockSize())
    assert choose_precision(model, vocabulary, split, "auto") == ("float32", BlockSize())
    assert choose_precision(model, vocabulary, split, "bfloat16") == ("bfloat16", BlockSize())
    assert not cache_file().exists()


def test_a_large_job_is_tried_once_and_remembered_for_small_ones(monkeypatch):
    (model, vocabulary), split = tiny_model(), tiny_split()
    tried = []
    monkeypatch.setattr(tuning, "tune", lambda *_: (tried.append(1), FOUND)[1])
    monkeypatch.setattr(tuning, "WORTH_MEASURING", 1)
    assert choose_precision(model, vocabulary, split) == ("float32", BlockSize(1 << 20))
    monkeypatch.setattr(tuning, "WORTH_MEASURING", 10**9)
    assert choose_precision(model, vocabulary, split, "auto") == ("bfloat16", BlockSize(1 << 22))
    assert len(tried) == 1


def test_what_is_told_is_done(monkeypatch):
    (model, vocabulary), split = tiny_model(), tiny_split()
    write_cached(model, FOUND)
    assert choose_precision(model, vocabulary, split, "float32", 7) == ("float32", BlockSize(pairs=7))
    assert choose_precision(model, vocabulary, split, "auto", 7)[1].pairs == 7
    with pytest.raises(InputError, match="at least 1 pair"):
        choose_precision(model, vocabulary, split, "auto", 0)


def test_a_block_is_as_large_as_told_and_changes_no_score():
    (model, vocabulary), split = tiny_model(), tiny_split()
    whole = score_split(model, vocabulary, split)
    model.blocks.clear()
    np.testing.assert_allclose(
        score_split(model, vocabulary, split, ScoringOptions(size=BlockSize(pairs=2))), whole, atol=1e-6
    )
    assert {a * b for a, b in model.blocks} <= {1, 2}


def test_a_trial_times_every_budget_and_measures_the_drift():
    (model, vocabulary), split = tiny_model(), tiny_split()
    found = tune(model, *sample(model, vocabulary, split))
    assert set(found.budgets) == set(found.seconds) == {"float32", "bfloat16"}
    assert set(found.budgets.values()) <= {1 << 10, 1 << 12}
    assert min(found.seconds.values()) > 0
    assert found.drift > 0


def test_a_slow_model_is_tried_with_fewer_captions(monkeypatch):
    (model, vocabulary), split = tiny_model(), tiny_split(40)
    images, texts = sample(model, vocabulary, split)
    seen = []
    score = tuning.score_codes
    monkeypatch.setattr(tuning, "score_codes", lambda m, i, some, *rest: seen.append(some) or score(m, i, some, *rest))
    monkeypatch.setattr(tuning, "TRIAL_SECONDS", 0.0)
    found = tune(model, images, texts)
    assert {sum(len(bucket.captions) for bucket in some) for some in seen} == {4}
    assert min(found.seconds.values()) > 0
    seen.clear()
    monkeypatch.setattr(tuning, "TRIAL_SECONDS", 1e9)
    tune(model, images, texts)
    assert sum(len(bucket.captions) for bucket in seen[-1]) == sum(len(bucket.captions) for bucket in texts) > 4


@pytest.mark.parametrize(
    ("drift", "half", "chosen"), [(1e-4, 1e-6, "bfloat16"), (3e-3, 1e-6, "float32"), (1e-4, 4e-6, "float32")]
)
def test_bfloat16_must_be_exact_enough_and_faster(drift, half, chosen):
    assert Tuned({}, {"float32": 4e-6, "bfloat16": half}, drift).precision() == chosen


def test_another_machine_or_model_is_asked_anew(monkeypatch):
    model, _ = tiny_model()
    write_cached(model, FOUND)
    assert read_cached(model) == FOUND
    assert read_cached(tiny_model(regions=3)[0]) is None
    monkeypatch.setattr(tuning, "hardware", lambda device: {"processor": "another"})
    assert read_cached(model) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'{"format_version": 1}',
        b'{"format_version": 1, "entries": []}',
        b'{"format_version": 99, "entries": {}}',
        b"[" * 100_000,
    ],
)
def test_a_broken_cache_is_as_none_and_is_mended(content):
    model, _ = tiny_model()
    cache_file().parent.mkdir(parents=True)
    cache_file().write_bytes(content)
    assert read_cached(model) is None
    write_cached(model, FOUND)
    assert read_cached(model) == FOUND


@pytest.mark.parametrize("entry", [None, 3, [], {}, {"budgets": 1, "seconds": 2, "drift": 3}, {"budgets": {}, "x": 1}])
def test_a_broken_entry_is_as_none(entry):
    model, _ = tiny_model()
    write_cached(model, FOUND)
    kept = json.loads(cache_file().read_text())
    kept["entries"] = dict.fromkeys(kept["entries"], entry)
    cache_file().write_text(json.dumps(kept))
    assert read_cached(model) is None


@pytest.mark.parametrize("value", [{"float32": "8", "bfloat16": 1}, {"float32": -1, "bfloat16": 1}, {"float32": 1}])
def test_a_size_that_is_none_is_as_none(value):
    model, _ = tiny_model()
    write_cached(model, FOUND)
    kept = json.loads(cache_file().read_text())
    for entry in kept["entries"].values():
        entry["budgets"] = value
    cache_file().write_text(json.dumps(kept))
    assert read_cached(model) is None


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(monkeypatch, tmp_path):
    model, _ = tiny_model()
    (tmp_path / "cache").write_text("a file where a folder is wanted")
    write_cached(model, FOUND)
    assert read_cached(model) is None
