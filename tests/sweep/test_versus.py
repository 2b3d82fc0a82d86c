"""`crossgraph versus`: one of some variants is chosen on dev, and only then other splits are opened, once."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from references.tiny_pairs import write_precomp

from crossgraph.cli.main import main
from crossgraph.evaluate.answers import Answered, Answers
from crossgraph.evaluate.paired import compare_answers
from crossgraph.models.tshsr import TSHSRConfig
from crossgraph.sweep import paired_seeds, versus_page
from crossgraph.sweep.cards import PageContent, card_path, read_kept, rsum
from crossgraph.sweep.definition import load, plan
from crossgraph.sweep.versus_page import BEGIN, END
from crossgraph.train import recipes

RECIPE = """
model: {name: vsepp, config: {embed_size: 12, word_size: 8}}
evaluate: {every_epochs: 1}
batch: 8
epochs: 1
vocabulary_minimum: 1
small: {max_steps: 2}
"""
LIST = """
title: Rates
base: one.yaml
baseline: plain
seeds: [0, 1]
variants:
  - {name: plain}
  - {name: slow, label: a small step, overrides: {optimiser.lr: 1.0e-5}}
  - {name: fast, overrides: {optimiser.lr: 1.0e-2}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_precomp(tmp_path_factory.mktemp("data") / "tiny_precomp", {"train": 40, "dev": 8, "test": 8})


def write_list(folder, text=LIST):
    (folder / "one.yaml").write_text(RECIPE)
    (folder / "list.yaml").write_text(text)


def words(folder, data, *more):
    places = {"--out": "runs", "--cards": "cards", "--page": "page.md"}
    given = [word for option, name in places.items() for word in (option, str(folder / name))]
    return ["versus", str(folder / "list.yaml"), "--data", str(data), *given, "--small", "--device", "cpu", *more]


def shipped():
    path = recipes.find("tshsr-against-sgr", sweep=True)
    sweep = load(path)
    return sweep, {(entry.variant.name, entry.seed): entry for entry in plan(sweep, path, [], False)}


def test_tshsr_meets_sgr_with_one_budget_and_at_most_six_variants():
    sweep, planned = shipped()
    assert sweep.baseline == "sgr" and len(sweep.seeds) == 3
    ours = [entry.recipe for entry in planned.values() if entry.variant.name != "sgr"]
    assert {recipe.model.name for recipe in ours} == {"tshsr"} and len(ours) <= 6 * 3
    shared = [dataclasses.replace(e.recipe, model=ours[0].model, seed=0) for e in planned.values()]
    assert all(recipe == shared[0] for recipe in shared), "loss, optimiser, schedule, pairs and steps are the same"
    sizes = {tuple(e.recipe.model.config[k] for k in ("embed_size", "word_size", "sim_size")) for e in planned.values()}
    assert len(sizes) == 1


def test_the_committed_page_is_made_from_the_committed_cards(root):
    sweep, planned = shipped()
    folder, page = root / "experiments" / "tshsr-against-sgr", PageContent(sweep, planned, ["test", "hard"], {})
    for (name, seed), entry in planned.items():
        for split in ("dev", *page.splits):
            path = card_path(folder / f"seed-{seed}", entry, split)
            if path.exists():
                card = json.loads(path.read_text())
                assert read_kept(path.parent, entry, split, card["data"]["fingerprint"]), "its recipe is the list's"
                page.cards[name, seed, split] = card
    if (folder / "choice.json").exists():
        page.chosen = json.loads((folder / "choice.json").read_text())["chosen"]
    for split in page.splits:
        if (folder / f"comparison-{split}.json").exists():
            page.comparisons[split] = json.loads((folder / f"comparison-{split}.json").read_text())
    written = (root / "docs" / "models" / "tshsr.md").read_text()
    assert f"{BEGIN}\n\n{versus_page.markdown(page)}\n{END}\n" in written


def test_the_model_s_default_is_what_dev_said_of_the_interaction(root):
    cards = root / "experiments" / "tshsr-against-sgr" / "seed-0"
    figures = {name: rsum(json.loads((cards / f"{name}-dev.json").read_text())) for name in ("add", "replace")}
    assert TSHSRConfig().interaction == max(figures, key=lambda name: figures[name])


def answers(ranks):
    """A system whose rank for picture i is ranks[i], both ways."""
    rank = np.array(ranks, dtype=np.float64)
    hit = np.stack([(rank < cutoff).astype(np.float64) for cutoff in (1, 5, 10)], axis=1)
    names = [f"p{row}" for row in range(len(rank))]
    return Answers("x", *(Answered(names, names, names, rank, hit) for _ in range(2)))


def test_all_seeds_together_are_their_mean_and_the_same_pictures_are_drawn_for_each():
    baseline = {0: answers([0, 0, 3, 7]), 1: answers([0, 9, 0, 0])}
    other = {0: answers([0, 0, 0, 7]), 1: answers([0, 0, 0, 0])}
    found = paired_seeds.compare(baseline, other)
    by_seed = [found["seeds"][seed]["differences"]["i2t R@1"]["difference"] for seed in ("0", "1")]
    assert by_seed == [25.0, 25.0]
    assert found["all"]["differences"]["i2t R@1"]["difference"] == 25.0
    twice = paired_seeds.compare({0: baseline[0], 1: baseline[0]}, {0: other[0], 1: other[0]})
    alone = compare_answers(baseline[0], other[0], queries=0).as_json()
    assert twice["all"]["differences"]["rSum"]["interval"] == alone["differences"]["rSum"]["interval"]


@pytest.mark.parametrize(
    "text, more, message",
    [
        (LIST.replace("baseline: plain", "baseline: plane"), [], "did you mean 'plain'"),
        (LIST.replace("baseline: plain\n", ""), [], "has no 'baseline'"),
        (f"{LIST}  - {{name: two, ensemble: [slow, fast]}}\n", [], "has an ensemble"),
        (LIST, ["--splits", "dev"], "which the variant is chosen on"),
        (LIST, ["--splits", "test", "--splits", "test"], "name each split once"),
        (LIST, ["--splits", "tset"], "tset"),
        (LIST, ["--page", "page.txt"], "must end in .md"),
        (LIST, ["--batch=0"], "batch is 0"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(data, tmp_path, capsys, text, more, message):
    write_list(tmp_path, text)
    assert main(words(tmp_path, data, *more)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.yaml", "one.yaml"]


def test_a_page_of_somebody_s_own_is_not_overwritten(data, tmp_path, capsys):
    write_list(tmp_path)
    (tmp_path / "page.md").write_text("# mine\n")
    assert main(words(tmp_path, data)) == 2
    assert "has no place for it" in capsys.readouterr().err
    assert (tmp_path / "page.md").read_text() == "# mine\n"


def test_before_the_choice_a_dry_run_tells_of_dev_alone(data, tmp_path, capsys):
    write_list(tmp_path)
    assert main([*words(tmp_path, data), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.count("crossgraph train") == 3 and said.count("--split dev") == 3 and "--split test" not in said
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_list(folder)
    (folder / "page.md").write_text(f"# mine\n\n{BEGIN}\nold\n{END}\n\nand the rest\n")
    assert main(words(folder, data)) == 0
    return folder


@pytest.mark.slow
def test_dev_chooses_and_only_the_chosen_one_and_the_baseline_are_measured(made):
    choice = json.loads((made / "cards" / "choice.json").read_text())
    assert set(choice["rsum"]) == {"slow", "fast"}
    chosen = choice["chosen"]
    assert choice["rsum"][chosen] == max(choice["rsum"].values())
    kept = {str(path.relative_to(made / "cards")) for path in (made / "cards").glob("seed-*/*")}
    dev = {f"seed-0/{name}-dev.json" for name in ("plain", "slow", "fast")}
    assert kept == dev | {f"seed-{seed}/{name}-test.json" for seed in (0, 1) for name in ("plain", chosen)}
    for path in (made / "runs").rglob("card.json"):
        assert path.parent.parent.name in {"plain", chosen}, "test was opened for another"


@pytest.mark.slow
def test_the_page_holds_every_variant_and_the_cards_figures_between_what_was_there(made):
    page = (made / "page.md").read_text()
    assert page.startswith("# mine\n\n") and page.endswith("\n\nand the rest\n") and "old" not in page
    chosen = json.loads((made / "cards" / "choice.json").read_text())["chosen"]
    assert (
        all(f"| {name} " in page for name in {"plain", "slow", "fast"} - {chosen}) and f"**{chosen}** (chosen)" in page
    )
    found = json.loads((made / "cards" / "comparison-test.json").read_text())
    card = json.loads((made / "cards" / "seed-1" / f"{chosen}-test.json").read_text())
    figure = card["results"]["whole"]["figures"]["rSum"]
    assert found["seeds"]["1"]["differences"]["rSum"]["b"] == pytest.approx(figure)
    assert f"{figure:.1f}" in page
    assert not [line for line in page.splitlines() if line.startswith("|") and "?" in line]
    assert "16 seen pairs in 2 steps of 8" in page


@pytest.mark.slow
def test_what_is_done_is_done_and_after_the_choice_the_list_stands(made, data, capsys):
    before = (made / "page.md").read_text()
    assert main(words(made, data)) == 0
    assert "[1/1]" not in capsys.readouterr().err and (made / "page.md").read_text() == before
    write_list(made, LIST + "  - {name: late, overrides: {optimiser.lr: 1.0e-3}}\n")
    assert main(words(made, data)) == 2
    assert "was chosen among other variants" in capsys.readouterr().err
    write_list(made, LIST.replace("1.0e-5", "2.0e-5"))
    assert main(words(made, data)) == 2
    write_list(made)


@pytest.mark.slow
def test_a_variant_that_fails_is_named_and_nothing_is_chosen(data, tmp_path, capsys):
    broken = "model.name: scan, optimiser.lr: 1.0e+30, epochs: 3, max_steps: 12, collapse.action: stop"
    write_list(tmp_path, LIST.replace("optimiser.lr: 1.0e-5", broken))
    assert main(words(tmp_path, data)) == 2
    assert "slow: " in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "cards" / "choice.json").exists() and "Not chosen yet" in (tmp_path / "page.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["versus", "table"])
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(data, tmp_path, command):
    write_list(tmp_path, LIST if command == "versus" else LIST.replace("seeds: [0, 1]\n", ""))
    slow = ["--epochs=400", "--max_steps=200000", "--evaluate.every_epochs=400"]
    given = [command, *words(tmp_path, data, "--splits", "test", *slow)[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "crossgraph", *given], stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        until = time.monotonic() + 120
        while not list(Path(tmp_path, "runs").rglob("log.jsonl")):
            assert run.poll() is None and time.monotonic() < until, run.communicate()[1]
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=120)[1]
    assert run.returncode == 130
    assert "all progress is saved; go on with: crossgraph" in said.splitlines()[-1] and "Traceback" not in said
    assert list(Path(tmp_path, "runs").rglob("checkpoint")), "what ran has saved"
    assert "?" in (tmp_path / ("page.md")).read_text(), "the page is there, with what is missing"
