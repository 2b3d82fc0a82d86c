"""A sweep file is checked whole, every recipe of it built, before anything trains."""

from __future__ import annotations

import pytest
from references.tiny_sweep import SWEEP, write_sweep

from crossgraph.core.errors import InputError
from crossgraph.sweep.definition import load, plan
from crossgraph.train import recipes


def planned(tmp_path, text=SWEEP, overrides=(), small=False):
    path = write_sweep(tmp_path, text)
    return plan(load(path), path, overrides, small)


def test_each_variant_is_the_base_with_the_sweep_s_changes_and_its_own(tmp_path):
    saf, local = planned(tmp_path)
    assert (saf.recipe.epochs, local.recipe.epochs) == (1, 1)
    assert saf.recipe.model.config["nodes"] == "both"
    assert local.recipe.model.config["nodes"] == "local"
    assert local.overrides == ["epochs=1", "model.config.nodes=local"]


def test_what_is_planned_is_what_train_would_be_told(tmp_path):
    for entry in planned(tmp_path, overrides=["batch=4", "optimiser.lr=1e-5"], small=True):
        told = recipes.load(recipes.find(entry.base), entry.overrides, small=True)
        assert told == entry.recipe
        assert (told.batch, told.optimiser.lr, told.max_steps) == (4, 1e-5, 2)


def test_a_variant_wins_over_the_sweep_and_the_command_line_over_both(tmp_path):
    text = SWEEP.replace("{model.config.nodes: local}", "{epochs: 3}")
    assert [entry.recipe.epochs for entry in planned(tmp_path, text)] == [1, 3]
    assert [entry.recipe.epochs for entry in planned(tmp_path, text, ["--epochs=5"])] == [5, 5]


def test_every_seed_is_a_training_of_its_own(tmp_path):
    found = planned(tmp_path, SWEEP.replace("variants:", "seeds: [0, 7]\nvariants:"))
    assert [(entry.variant.name, entry.recipe.seed) for entry in found] == [
        ("saf", 0),
        ("saf", 7),
        ("local", 0),
        ("local", 7),
    ]
    assert found[1].overrides == ["epochs=1", "seed=7"]


def test_members_of_an_ensemble_are_run_with_it(tmp_path):
    sweep = load(write_sweep(tmp_path))
    assert [variant.name for variant in sweep.only(["both"])] == ["saf", "local", "both"]
    assert [variant.name for variant in sweep.only(["local"])] == ["local"]
    assert len(sweep.only([])) == 3
    with pytest.raises(InputError, match="no variant 'locall': did you mean 'local'"):
        sweep.only(["locall"])


def test_the_shipped_sweep_holds_the_paper_s_tables():
    path = recipes.find("ablations-sgraf", sweep=True)
    sweep = load(path)
    tables = {number for variant in sweep.variants for number in variant.table.split(", ")}
    assert tables == {"3", "4", "5", "7"}
    built = {entry.variant.name: entry.recipe for entry in plan(sweep, path, [], False)}
    assert {recipe.model.config["steps"] for recipe in built.values() if recipe.model.name == "sgr"} == {0, 1, 2, 3, 4}
    assert {recipe.model.name for recipe in built.values()} == {"sgr", "saf", "sgraf-average", "sgraf-joint"}
    assert len({recipes.dump(recipe) for recipe in built.values()}) == len(built), "no training twice"
    assert all(variant.reported.i2t_r1 and variant.reported.t2i_r1 for variant in sweep.variants)
    assert plan(sweep, path, [], True)


def test_a_sweep_is_no_recipe_and_a_recipe_no_sweep(tmp_path):
    path = write_sweep(tmp_path)
    assert "ablations-sgraf" not in recipes.shipped()
    with pytest.raises(InputError, match="crossgraph sweep"):
        recipes.find(str(path))
    with pytest.raises(InputError, match="crossgraph sweep ablations-sgraf"):
        recipes.find("ablations-sgraf")
    with pytest.raises(InputError, match="crossgraph train sgraf-saf-scenes"):
        recipes.find("sgraf-saf-scenes", sweep=True)
    with pytest.raises(InputError, match="has no 'variants'"):
        load(tmp_path / "tiny-recipe.yaml")
    with pytest.raises(InputError, match="did you mean 'ablations-sgraf'"):
        recipes.find("ablation-sgraf", sweep=True)
    with pytest.raises(InputError, match="is a folder"):
        recipes.find(str(tmp_path), sweep=True)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("title: Tiny", "titel: Tiny", "unknown key 'titel': did you mean 'title'"),
        ("title: Tiny", "title: [Tiny", "not valid YAML"),
        ("title: Tiny\n", "", "'title' is missing"),
        ("name: local", "name: saf", "two variants are called 'saf'"),
        ("name: local", "name: SAF", "two variants are called 'SAF'"),
        ("name: local", "name: a/b", "variant 'a/b' cannot be a folder's name"),
        ("name: local", "name: ..", "cannot be a folder's name"),
        ("name: local", "name: logs", "cannot be a folder's name"),
        ("label: local nodes", "labell: x", "unknown key 'variants.1..labell': did you mean 'label'"),
        ("epochs: 1", "epochs: {a: 1}", "'epochs' holds keys"),
        ("epochs: 1", "seed: 1", "sets 'seed': list the sweep's seeds under 'seeds'"),
        ("model.config.nodes: local", "model.config.node: local", "variant 'local': .*did you mean 'nodes'"),
        ("model.config.nodes: local", "model.config.nodes: lokal", "variant 'local': .*did you mean 'local'"),
        ("model.config.nodes: local", "model.config.nodes: global", "variant 'local': .*leaves SAF one node"),
        ("model.config.nodes: local", "model.config.similarity: scalar", "variant 'local': .*SAF weighs"),
        ("model.config.nodes: local", "optimiser.lr: -1", "variant 'local': .*optimiser.lr is -1"),
        ("model.config.nodes: local", "batch: two", "variant 'local': .*'batch' is 'two'"),
        ("base: tiny-recipe.yaml", "base: tiny-recipe.yml", "variant 'saf': tiny-recipe.yml: no such file"),
        ("ensemble: [saf, local]", "ensemble: [saf, lokal]", "no training is called 'lokal': did you mean 'local'"),
        ("ensemble: [saf, local]", "ensemble: [saf, saf]", "an ensemble of"),
        ("ensemble: [saf, local]", "ensemble: [saf]", "an ensemble of"),
        ("ensemble: [saf, local]", "ensemble: [saf, both]", "no training is called 'both'"),
        ("ensemble: [saf, local]", "ensemble: [saf, local], base: x", "an ensemble trains nothing"),
        ("variants:", "seeds: []\nvariants:", "'seeds' is empty"),
        ("variants:", "seeds: [1, 1]\nvariants:", "seeds .1, 1."),
        ("variants:", "seeds: [-1]\nvariants:", "seeds .-1."),
        ("i2t_r1: 73.7", "i2t_r1: good", "'variants.0..reported.i2t_r1' is 'good'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, old, new, message):
    assert old in SWEEP
    with pytest.raises(InputError, match=message) as caught:
        planned(tmp_path, SWEEP.replace(old, new))
    assert "\n" not in str(caught.value)


def test_an_empty_list_of_variants_or_none_is_refused(tmp_path):
    head = SWEEP.partition("variants:")[0]
    for tail in ("variants: []", "variants:", "variants: 3"):
        with pytest.raises(InputError, match="variants"):
            load(write_sweep(tmp_path, head + tail))


def test_a_base_without_a_small_form_says_so(tmp_path):
    path = write_sweep(tmp_path, recipe="model: {name: saf}")
    with pytest.raises(InputError, match=r"variant 'saf': .*has no 'small' form"):
        plan(load(path), path, [], True)


def test_one_seed_for_all_runs_is_refused(tmp_path):
    with pytest.raises(InputError, match="list the seeds"):
        planned(tmp_path, overrides=["--seed=3"])


def test_the_sweep_that_the_page_shows_can_be_planned(root, tmp_path):
    page = (root / "docs" / "sweep.md").read_text()
    path = tmp_path / "shown.yaml"
    path.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    found = plan(load(path), path, [], False)
    assert [entry.variant.name for entry in found] == [name for name in ("none", "some", "much") for _ in range(3)]
