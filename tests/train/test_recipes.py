"""Recipes: found by name, checked strictly, each with a small form that trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from references.tiny_pairs import tiny_split

from crossgraph.core.errors import InputError
from crossgraph.train import recipes
from crossgraph.train.distributed import make_fabric
from crossgraph.train.job import Sources, Splits, prepare
from crossgraph.train.loop import fit

SHIPPED = sorted(recipes.shipped())


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_the_eight_of_sgraf_are_shipped() -> None:
    expected = {f"sgraf-{head}-{data}" for head in ("sgr", "saf") for data in ("f30k", "coco", "f8k", "scenes")}
    assert expected <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_small_form_trains_in_seconds(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(recipes.find(name), ["workers=0"], small=True)
    splits = Splits(tiny_split("train", 20, regions=4, boxes=True), tiny_split("dev", 6, regions=4, boxes=True))
    state = fit(prepare(recipe, Sources(Path("tiny")), splits), make_fabric("32", "cpu", 1), tmp_path)
    assert state.finished and state.step <= 10
    assert (tmp_path / "run.json").exists()


@pytest.mark.parametrize("name", SHIPPED)
def test_each_survives_being_written_and_read(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(recipes.find(name))
    assert recipes.load(write(tmp_path, recipes.dump(recipe))) == recipe


def test_the_papers_settings_are_the_papers() -> None:
    drops = {name: recipes.load(recipes.find(name)) for name in SHIPPED if name.endswith(("f30k", "coco"))}
    epochs = {name: (recipe.epochs, recipe.schedule.drop_every) for name, recipe in drops.items() if "sgraf" in name}
    assert epochs == {
        "sgraf-sgr-f30k": (40, 30),
        "sgraf-saf-f30k": (30, 20),
        "sgraf-sgr-coco": (20, 10),
        "sgraf-saf-coco": (20, 10),
    }
    for name in epochs:
        recipe = drops[name]
        assert (recipe.batch, recipe.optimiser.lr, recipe.optimiser.clip, recipe.loss.margin) == (128, 2e-4, 2.0, 0.2)
        assert (recipe.optimiser.name, recipe.loss.negatives) == ("adam", "hardest")
        assert {recipe.model.config[key] for key in ("embed_size", "sim_size", "word_size")} == {1024, 256, 300}


def test_overrides_win_over_the_small_form_and_the_file() -> None:
    path = recipes.find("sgraf-saf-scenes")
    assert recipes.load(path, ["batch=6", "model.config.sim_size=5", "optimiser.lr=1e-5"], small=True).batch == 6
    assert recipes.load(path, ["--model.config.sim_size=5"]).model.config["sim_size"] == 5
    assert recipes.load(path, ["precision=32"]).precision == "32"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optimiser.lrr=1"], "unknown key 'optimiser.lrr': did you mean 'lr'"),
        (["model.config.sim_sise=1"], "unknown key 'model.config.sim_sise': did you mean 'sim_size'"),
        (["model.name=saff"], "unknown model 'saff': did you mean 'saf'"),
        (["loss.negatives=hardes"], "'loss.negatives' cannot be 'hardes': did you mean 'hardest'"),
        (["batch=1"], "batch is 1: give at least 2"),
        (["batch=two"], "'batch' is 'two', text: give a whole number"),
        (["optimiser.lr=0"], "optimiser.lr is 0: give a number above 0"),
        (["regularise.word_dropout=1"], "regularise.word_dropout is 1: give a number from 0 to below 1"),
        (["loss.name=hinge", "loss.negatives=warm-up", "loss.warm_up_epochs=0"], "'warm-up' for no time"),
        (["evaluate.every_epochs=0"], "evaluate.every_epochs is 0: give at least 1"),
        (["model.config.dropout=2"], "dropout"),
    ],
)
def test_what_no_training_can_use_is_refused_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        recipes.load(recipes.find("sgraf-saf-scenes"), overrides)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_nearly_right_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'sgraf-saf-f8k'"):
        recipes.find("sgraf-saf-f8")
    with pytest.raises(InputError, match="is a folder"):
        recipes.find(str(tmp_path))


def test_a_recipe_without_a_small_form_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no 'small' form"):
        recipes.load(write(tmp_path, "model: {name: saf}"), small=True)
