"""`crossgraph table`: every model trained once, evaluated on every split, on one page made from kept cards."""

from __future__ import annotations

import json
import shutil

import pytest
from references.tiny_pairs import write_precomp

from crossgraph.cli.main import main
from crossgraph.models.base import MODELS
from crossgraph.sweep import models_page
from crossgraph.sweep.cards import PageContent, card_path, read_kept
from crossgraph.sweep.definition import load, plan
from crossgraph.train import recipes

MODEL = "config: {embed_size: 12, word_size: 8}"
RECIPE = f"""
model: {{name: vsepp, {MODEL}}}
evaluate: {{every_epochs: 1}}
batch: 8
epochs: 1
vocabulary_minimum: 1
small: {{max_steps: 2}}
"""
TABLE = """
title: A few models
base: one.yaml
variants:
  - {name: vsepp}
  - {name: scan, label: words look, overrides: {model.name: scan}}
  - {name: tshsr, overrides: {model.name: tshsr, model.config.sim_size: 6}}
"""
BROKEN = "optimiser.lr: 1.0e+30, epochs: 3, max_steps: 12, collapse.action: stop"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_precomp(tmp_path_factory.mktemp("data") / "tiny_precomp", {"train": 40, "dev": 8, "test": 8})


def write_table(folder, text=TABLE):
    (folder / "one.yaml").write_text(RECIPE)
    (folder / "table.yaml").write_text(text)
    return folder / "table.yaml"


def words(folder, data, *more):
    places = {"--out": "runs", "--cards": "cards", "--page": "results.md"}
    given = [word for option, name in places.items() for word in (option, str(folder / name))]
    splits = ["--splits", "test", "--splits", "dev"]
    return [
        "table",
        str(folder / "table.yaml"),
        "--data",
        str(data),
        *given,
        *splits,
        "--small",
        "--device",
        "cpu",
        *more,
    ]


def cells(page):
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_shipped_table_holds_every_model_with_one_budget():
    path = recipes.find("table-scenes", sweep=True)
    planned = plan(load(path), path, [], False)
    assert {entry.recipe.model.name for entry in planned} == set(MODELS), "a model is missing in table-scenes.yaml"
    assert len({(entry.recipe.epochs, entry.recipe.batch, entry.recipe.max_steps) for entry in planned}) == 1
    assert plan(load(path), path, [], True)


def test_the_committed_page_is_made_from_the_committed_cards(root):
    path = recipes.find("table-scenes", sweep=True)
    sweep = load(path)
    planned, splits = plan(sweep, path, [], False), ["test", "hard"]
    cards: dict[tuple[str, int, str], dict] = {}
    for entry in planned:
        for split in splits:
            path = card_path(root / "experiments" / "scenes-table", entry, split)
            if path.exists():
                card = json.loads(path.read_text())
                fingerprint = card["data"]["fingerprint"]
                assert read_kept(path.parent, entry, split, fingerprint), "its recipe is the list's"
                cards[entry.variant.name, entry.seed, split] = card
    assert len({card["data"]["fingerprint"] for (_, _, split), card in cards.items() if split == "test"}) == 1
    page = models_page.markdown(
        PageContent(sweep, {(entry.variant.name, entry.seed): entry for entry in planned}, splits, cards)
    )
    assert (root / "docs" / "results.md").read_text() == page, 'make table TABLE_ARGS="--only sgr" writes it anew'


def test_a_dry_run_touches_nothing(data, tmp_path, capsys):
    write_table(tmp_path)
    assert main([*words(tmp_path, data, "--dry-run", "--only", "scan")]) == 0
    said = capsys.readouterr().out
    assert said.count("crossgraph train") == 1 and said.count("crossgraph evaluate") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.yaml", "table.yaml"]


@pytest.mark.parametrize(
    "more, message",
    [
        (["--splits", "test", "--splits", "tset"], "tset"),
        (["--splits", "test", "--splits", "test"], "name each split once"),
        (["--only", "scann"], "did you mean 'scan'"),
        (["--page", "results.txt"], "must end in .md"),
        (["--epochs=0"], "epochs is 0"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(data, tmp_path, capsys, more, message):
    write_table(tmp_path)
    assert main(words(tmp_path, data, *more)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs").exists() and not (tmp_path / "results.md").exists()


def test_seeds_and_ensembles_are_a_sweep_s(data, tmp_path, capsys):
    for text in (
        TABLE.replace("variants:", "seeds: [0, 1]\nvariants:"),
        f"{TABLE}  - {{name: e, ensemble: [vsepp, scan]}}\n",
    ):
        write_table(tmp_path, text)
        assert main(words(tmp_path, data)) == 2
        assert "a table of models has no" in capsys.readouterr().err


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """A table of three models of which one failed, and what it printed."""
    folder = tmp_path_factory.mktemp("made")
    write_table(folder, TABLE.replace("model.name: scan", "model.name: scan, " + BROKEN))
    code = main(words(folder, data))
    return folder, code


@pytest.mark.slow
def test_one_failing_model_does_not_lose_the_others(made):
    folder, code = made
    assert code == 2
    assert sorted(path.name for path in (folder / "cards").iterdir()) == [
        "tshsr-dev.json", "tshsr-test.json", "vsepp-dev.json", "vsepp-test.json",
    ]  # fmt: skip
    page = (folder / "results.md").read_text()
    rows = cells(page)
    vsepp = [row for row in rows if row[0] == "vsepp"]
    scan = [row for row in rows if row[0].startswith("scan (words look) — **failed**: ")]
    assert len(vsepp) == len(scan) == 4, "two splits, explanations, cost"
    assert not any("?" in cell for row in vsepp for cell in row)
    assert all(set(row[2:]) == {"?"} for row in scan)
    assert "16 seen pairs in 2 steps of 8" in page
    before, _, after = page.partition("## Re-interpretation")
    assert "| tshsr" in after and "| tshsr" not in before
    assert "| caan" in after


@pytest.mark.slow
def test_the_numbers_are_the_cards_and_the_models_own(made):
    folder, _ = made
    card = json.loads((folder / "cards" / "vsepp-test.json").read_text())
    assert card["table"]["picture"]["bytes"] == 4 * 12
    scored = json.loads((folder / "cards" / "tshsr-test.json").read_text())
    assert scored["table"]["status"] == "re-interpretation"
    assert scored["table"]["picture"]["bytes"] >= 2 * 6 * 12
    figures = card["results"]["whole"]["figures"]
    page = (folder / "results.md").read_text()
    row = next(row for row in cells(page) if row[0] == "vsepp")
    assert row[2] == " ".join(f"{figures[f'i2t R@{k}']:.1f}" for k in (1, 5, 10))
    assert f"{card['models']['entries'][0]['parameters']:,}" in page


@pytest.mark.slow
def test_kept_cards_are_done_without_their_runs_and_others_are_refused(made, data, tmp_path, capsys):
    folder, _ = made
    write_table(tmp_path)
    shutil.copytree(folder / "cards", tmp_path / "cards")
    assert main(words(tmp_path, data, "--only", "vsepp", "--only", "tshsr")) == 0
    assert "train" not in capsys.readouterr().err.replace("(train)", "")
    assert not (tmp_path / "runs" / "vsepp").exists()
    assert "failed" not in (tmp_path / "results.md").read_text()
    assert main(words(tmp_path, data, "--batch=4")) == 2
    assert "vsepp-test.json: was trained with batch 8, now it is 4" in capsys.readouterr().err
    (tmp_path / "cards" / "vsepp-dev.json").write_text("{")
    assert main(words(tmp_path, data, "--only", "vsepp", "--dry-run")) == 0
    assert "vsepp: dev" in capsys.readouterr().out
