"""Cards: what a reviewer needs, the warnings said aloud, and a table that comes from the card alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from references.tiny_matcher import tiny_split

from crossgraph.data.subset import first_images
from crossgraph.evaluate.card import EvaluationContext, build_card, title, write_card
from crossgraph.evaluate.protocol import Protocol, evaluate_scores
from crossgraph.evaluate.sources import Source, combine
from crossgraph.evaluate.table import compare, markdown

SPLIT = tiny_split(images=12)
MODEL = {
    "run": "runs/one",
    "model": "sgr",
    "region_encoder": "tiny",
    "trained_on": {"train": "t" * 64, "dev": "d" * 64},
    "chosen_by": {"split": "dev", "epoch": 3},
    "seed": 7,
}


def scores(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((12, len(SPLIT.captions))).astype(np.float32)


def card(*models: dict, protocol: Protocol | None = None, dev_limit: int | None = None) -> dict:
    protocol = protocol or Protocol(resamples=20)
    split = SPLIT if dev_limit is None else first_images(SPLIT, dev_limit)
    corner = slice(0, len(split.image_ids)), np.flatnonzero(SPLIT.caption_image < len(split.image_ids))
    sources = [
        Source(model["run"], scores(seed)[corner[0]][:, corner[1]], [model]) for seed, model in enumerate(models)
    ]
    evaluation = evaluate_scores(combine(sources), split.caption_image, protocol)
    around = EvaluationContext(Path("data"), None, SPLIT, split, dev_limit, None, None, 0.5)
    return build_card(sources, evaluation, protocol, around)


def test_a_card_is_plain_json_and_whole():
    made = card(MODEL)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    for name in (
        "command",
        "data",
        "chosen_by",
        "versions",
        "seeds",
        "seconds",
        "when",
        "hardware",
        "protocol",
        "git_revision",
    ):
        assert name in made
    assert made["data"]["fingerprint"] == SPLIT.fingerprint()
    assert made["seeds"]["training"] == [7]
    assert set(made["versions"]) == {"crossgraph", "python", "torch", "numpy"}


def test_a_single_model_is_one_model():
    made = card(MODEL)
    assert made["models"]["count"] == 1
    assert not made["models"]["ensemble"]
    assert made["title"] == "sgr"
    assert "One model." in markdown(made)


def test_several_are_marked_an_ensemble_everywhere():
    made = card(MODEL, {**MODEL, "run": "runs/two", "model": "saf"})
    assert made["models"]["count"] == 2
    assert made["title"] == "sgr + saf (ensemble of 2)"
    assert "ensemble of 2 models: the mean of their score matrices" in markdown(made)


def test_matrices_of_unknown_origin_are_called_by_their_file():
    unknown = [{"run": f"{name}.npy", "model": "unknown"} for name in ("a", "b")]
    assert title(unknown) == "a + b (ensemble of 2)"
    assert "which split chose its checkpoint is unknown" in " ".join(card(*unknown)["notes"])


def test_a_split_that_chose_the_checkpoint_is_warned_of():
    assert card(MODEL)["warnings"] == []
    by_name = card({**MODEL, "chosen_by": {"split": "test"}, "trained_on": {}})
    by_data = card({**MODEL, "trained_on": {"dev": SPLIT.fingerprint()}})
    for made in (by_name, by_data):
        assert "its checkpoint was chosen on this split" in made["warnings"][0]
        assert "**Warning:** runs/one" in markdown(made)


def test_another_data_sets_split_of_the_same_name_is_no_reason_to_warn():
    assert card({**MODEL, "chosen_by": {"split": "test"}, "trained_on": {"test": "x" * 64}})["warnings"] == []


def test_a_split_that_chose_the_checkpoint_and_has_changed_since_is_noted():
    changed = {**MODEL, "chosen_by": {"split": "test"}, "trained_on": {"test": "x" * 64}}
    assert "was trained when 'test' held other pictures or captions" in " ".join(card(changed)["notes"])
    assert card({**changed, "chosen_by": {"split": "dev"}})["notes"] == []


def test_the_same_weights_twice_are_warned_of():
    again = {**MODEL, "weights_sha256": "a" * 64}
    assert "named more than once" in card(again, again)["warnings"][0]
    assert card(again, {**MODEL, "weights_sha256": "b" * 64})["warnings"] == []


def test_training_pictures_are_warned_of():
    assert "was trained on this split" in card({**MODEL, "trained_on": {"train": SPLIT.fingerprint()}})["warnings"][0]


def test_features_of_another_encoder_are_noted():
    assert (
        "trained on features of 'other', evaluated on 'tiny'" in card({**MODEL, "region_encoder": "other"})["notes"][0]
    )
    assert card(MODEL)["notes"] == []


def test_a_limit_is_noted_with_what_it_cut():
    made = card(MODEL, dev_limit=5)
    assert made["protocol"]["dev_limit"] == 5
    assert made["data"]["images"] == 5
    assert made["data"]["fingerprint"] == SPLIT.fingerprint()
    assert any("first 5 of 12 images" in note for note in made["notes"])
    assert any("cut nothing" in note for note in card(MODEL, dev_limit=100)["notes"])


def test_images_left_out_of_slices_are_noted():
    made = card(MODEL, protocol=Protocol(slices=5, resamples=5))
    assert made["protocol"]["left_out"] == 2
    assert any("the last 2 images stand in no slice" in note for note in made["notes"])
    assert len(made["results"]["slices"]) == 5
    assert "mean of 5 slices of 2 images" in markdown(made)
    assert "fold" not in markdown(made)


def test_the_table_holds_the_cards_figures_and_their_intervals():
    made = card(MODEL)
    table = markdown(made)
    header = next(line for line in table.splitlines() if line.startswith("| gallery"))
    names = [cell.strip() for cell in header.strip("|").split("|")]
    assert names[1:] == ["i2t R@1", "i2t R@5", "i2t R@10", "t2i R@1", "t2i R@5", "t2i R@10", "rSum"]
    row = next(line for line in table.splitlines() if line.startswith("| all 12 images"))
    figures = made["results"]["whole"]["figures"]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:] == [f"{figures[name]:.1f}" for name in names[1:]]
    low, high = made["results"]["whole"]["intervals"]["rSum"]
    assert f"{low:.1f}–{high:.1f}" in table


def test_the_table_is_made_from_the_file_alone(tmp_path: Path):
    path = write_card(card(MODEL), tmp_path / "new" / "folder", "card-dev")
    assert path.name == "card-dev.json"
    assert (path.parent / "card-dev.md").read_text() == markdown(json.loads(path.read_text()))


def test_cards_stand_side_by_side():
    both = [card(MODEL), card(MODEL, {**MODEL, "model": "saf"}, protocol=Protocol(slices=2, resamples=5))]
    assert len(compare(both).splitlines()) == 4
    assert len(compare(both, "slice_mean").splitlines()) == 3
    assert "| sgr + saf (ensemble of 2) | 2 " in compare(both)


@pytest.mark.parametrize(("ties", "says"), [("expected", "random order"), ("worst", "every wrong answer came first")])
def test_the_rule_for_ties_is_said(ties, says):
    assert says in markdown(card(MODEL, protocol=Protocol(ties=ties, resamples=5)))


@pytest.mark.parametrize(
    "status, words",
    [
        ("re-interpretation", "'tshsr' is a re-interpretation of its paper's abstract"),
        ("unverified", "'tshsr' is built from a description, unverified"),
    ],
)
def test_it_says_of_a_model_that_it_is_not_its_paper_s(status, words):
    made = card({**MODEL, "model": "tshsr", "status": status})
    assert any(words in note for note in made["notes"])
    assert words in markdown(made)
    assert not any("'tshsr'" in note for note in card({**MODEL, "model": "tshsr", "status": "implemented"})["notes"])
