"""`crossgraph train` as one uses it: several seeds, fine-tuning, two processes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from references.tiny_pairs import tiny_split, write_precomp
from safetensors.torch import load_file

from crossgraph.cli.main import main
from crossgraph.runs import load_run
from crossgraph.train import recipes
from crossgraph.train.job import Sources, Splits, prepare

SMALL = ["--small", "--device", "cpu"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_precomp(tmp_path_factory.mktemp("data") / "tiny_precomp", {"train": 20, "dev": 6})


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    out = data.with_name("run")
    assert main(["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(out), *SMALL]) == 0
    return out


def test_several_seeds_are_trained_and_summarised(data, tmp_path, capsys):
    words = ["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(tmp_path / "runs"), "--seeds", "3", *SMALL]
    assert main([*words, "--seed=5"]) == 0
    table = capsys.readouterr().out
    summary = json.loads((tmp_path / "runs" / "summary.json").read_text())
    rsums = [
        json.loads((tmp_path / "runs" / f"seed-{s}" / "run.json").read_text())["chosen_by"]["rsum"] for s in (5, 6, 7)
    ]
    assert [entry["rsum"] for entry in summary["runs"]] == rsums
    assert summary["mean"] == pytest.approx(sum(rsums) / 3, abs=1e-3)
    assert f"± {summary['std']:.1f} over 3 seeds" in table
    weights = [load_file(tmp_path / "runs" / f"seed-{s}" / "model.safetensors")["to_score.weight"] for s in (5, 6, 7)]
    assert not torch.equal(weights[0], weights[1])

    assert main([*words, "--seed=5", "--resume"]) == 0  # all are finished: only the summary is made again
    assert json.loads((tmp_path / "runs" / "summary.json").read_text()) == summary


def test_a_seed_alone_is_the_same_run_as_among_several(data, run, tmp_path):
    words = ["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(tmp_path / "runs"), "--seeds", "2", *SMALL]
    assert main(words) == 0
    assert (tmp_path / "runs" / "seed-0" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_fine_tuning_keeps_the_old_rows_and_adds_new_words_behind(run, tmp_path):
    recipe = recipes.load(recipes.find("sgraf-saf-scenes"), small=True)
    train = tiny_split("train", 20)
    captions = [caption.replace("thing1 ", "novelty ") for caption in train.captions]
    object.__setattr__(train, "captions", captions)
    job = prepare(recipe, Sources(tmp_path, init=run), Splits(train, tiny_split("dev", 6)))

    old, new = load_run(run), job.vocabulary
    assert new.words[: len(old.vocabulary)] == old.vocabulary.words
    assert "novelty" in new.words[len(old.vocabulary) :]
    stored = load_file(run / "model.safetensors")
    for name, tensor in job.model.state_dict().items():
        kept = tensor if tensor.ndim == 0 else tensor[: len(stored[name])]
        assert torch.equal(kept, stored[name]), name
    fresh = job.model.state_dict()["encode_words.embedding.weight"][len(old.vocabulary) :]
    assert len(fresh) == len(new) - len(old.vocabulary) > 0
    assert fresh.abs().max() > 0


def test_a_fine_tuned_run_remembers_where_it_came_from(data, run, tmp_path):
    out = tmp_path / "tuned"
    words = ["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(out), "--init", str(run), *SMALL]
    assert main([*words, "--model.config.dropout=0.3"]) == 0
    (entry,) = load_run(out).info.history
    assert entry["chosen_by"] == load_run(run).info.chosen_by
    assert entry["run"] == str(run)


def test_beginning_from_a_run_on_other_features_says_so(data, run, tmp_path, capsys):
    words = ["train", "sgraf-saf-scenes", "--data", str(data), "--init"]
    assert main([*words, str(run), "--out", str(tmp_path / "same"), *SMALL]) == 0
    assert "learned from features" not in capsys.readouterr().err
    other = Path(shutil.copytree(run, tmp_path / "other"))
    about = json.loads((other / "run.json").read_text()) | {"region_encoder": "resnet-50"}
    (other / "run.json").write_text(json.dumps(about))
    assert main([*words, str(other), "--out", str(tmp_path / "tuned"), *SMALL]) == 0
    assert f"{other}: learned from features of 'resnet-50', these are '" in capsys.readouterr().err


def test_without_fabric_the_line_says_what_to_install(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    assert main(["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(tmp_path / "run"), *SMALL]) == 2
    assert "pip install 'crossgraph[train]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def losses(out: Path) -> list[float]:
    with (out / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["event"] == "train"]


@pytest.mark.slow
def test_two_processes_train_as_one(data, tmp_path):
    """Losses agree as long as rounding has not grown; the gradients themselves are compared in test_distributed."""
    settings = ["--model.config.dropout=0", "--optimiser.lr=1e-4", "--log_every=1"]
    words = ["train", "sgraf-saf-scenes", "--data", str(data), *SMALL, *settings]
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "crossgraph",
        *words,
        "--out",
        str(tmp_path / "two"),
        "--devices",
        "2",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("all 4 steps are done") == 1
    assert done.stderr.count("images ×") == 2  # train and dev, said once
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert load_run(tmp_path / "two").info.chosen_by["split"] == "dev"
