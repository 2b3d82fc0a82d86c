"""Evaluation by cascade: what the index brings up is scored, the rest stays behind, lengths come from dev."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references.tiny_bundle import write_tiny_bundle
from references.tiny_matcher import tiny_model, tiny_split
from references.tiny_run import WORDS, write_tiny_run

from crossgraph.bundle.folder import load_bundle
from crossgraph.cli.main import main
from crossgraph.data import open_data
from crossgraph.evaluate import nearness as choosing
from crossgraph.evaluate.cascade import (
    SIZES,
    TOLERANCE,
    Lists,
    cascade_scores,
    shortest,
)
from crossgraph.evaluate.nearness import nearness, short_lists
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.chosen import score_chosen
from crossgraph.scoring.encode import ImageBlocks, encode_captions
from crossgraph.scoring.engine import score_split


def test_chosen_pairs_score_as_in_the_whole_matrix():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    whole = score_split(model, vocabulary, split)
    random = np.random.default_rng(0)
    chosen = [np.flatnonzero(random.random(whole.shape[1]) < share) for share in (0, 1, 0.5, 0.1, 0.9, 0.3, 0.7)]
    heard = []
    found = list(
        score_chosen(
            model,
            ImageBlocks(model, split),
            encode_captions(model, vocabulary, split.captions),
            chosen,
            report=lambda *told: heard.append(told),
        )
    )
    assert [one.image for one in found] == list(range(7))
    for one, wanted in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(one.captions, wanted)
        np.testing.assert_allclose(one.scores, whole[one.image, wanted], atol=1e-6)
    assert heard[-1] == ("pairs", sum(map(len, chosen)), sum(map(len, chosen)))


def test_in_bfloat16_blocks_have_few_shapes_and_the_scores_of_the_whole_matrix():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    split = dataclasses.replace(split, captions=["dog"] * 23, caption_image=np.arange(23) % len(split.image_ids))
    texts = encode_captions(model, vocabulary, split.captions)
    chosen = [np.arange(count) for count in (23, 5, 1, 7, 11, 17, 9)]
    whole = score_split(model, vocabulary, split, precision="bfloat16")
    model.blocks.clear()
    for one in score_chosen(model, ImageBlocks(model, split), texts, chosen, precision="bfloat16"):
        np.testing.assert_allclose(one.scores, whole[one.image, one.captions], atol=1e-3)
    assert {captions for _, captions in model.blocks} <= {1, 4, 6, 8, 12, 24}  # 4: what is measured first


def test_blocks_of_chosen_pairs_change_nothing():
    split, (model, vocabulary) = tiny_split(), tiny_model()
    texts = encode_captions(model, vocabulary, split.captions)
    chosen = [np.arange(len(split.captions))] * len(split.image_ids)
    whole, one = (
        list(score_chosen(model, ImageBlocks(model, split), texts, chosen, size=BlockSize(pairs=pairs)))
        for pairs in (1000, 1)
    )
    for a, b in zip(whole, one, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 99))
def test_a_list_holds_the_nearest_of_both_sides(images, texts, seed):
    random = np.random.default_rng(seed)
    near = random.standard_normal((images, texts), np.float32)
    pictures, captions = random.integers(1, images + 1), random.integers(1, texts + 1)
    lists = short_lists(near, int(pictures), int(captions))
    wanted = np.zeros(near.shape, bool)
    for row in range(images):
        wanted[row, np.argsort(-near[row])[:captions]] = True
    for column in range(texts):
        wanted[np.argsort(-near[:, column])[:pictures], column] = True
    assert [list(one) for one in lists] == [list(np.flatnonzero(row)) for row in wanted]


def test_a_perfect_index_needs_ten_and_a_blind_one_nearly_all():
    random = np.random.default_rng(0)
    scores = random.standard_normal((400, 60)).astype(np.float32)
    right = np.zeros(scores.shape, bool)
    right[np.arange(400), random.integers(0, 60, 400)] = True
    assert shortest(scores, scores, right) == (SIZES[0], 0.0)
    size, difference = shortest(-scores, scores, right)
    assert size == 60
    assert difference <= TOLERANCE


def test_lists_grow_with_the_gallery_and_never_beyond_it():
    lists = Lists(20, 100, 1000, 5000, "d", "b", 0.0)
    assert lists.of(1000, 5000) == (20, 100)
    assert lists.of(5000, 25000) == (100, 500)
    assert lists.of(10, 50) == (10, 50)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, count in (("dev", 16), ("test", 30)):
        np.save(folder / f"{split}_ims.npy", random.standard_normal((count, 4, 6)).astype(np.float32))
        captions = [" ".join(random.choice(WORDS, 5)) for _ in range(5 * count)]
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    return folder


def evaluate(*words: object) -> int:
    return main(["evaluate", *(str(word) for word in words)])


@pytest.mark.parametrize("sieve", [False, True])
def test_a_bundle_is_evaluated_by_cascade_and_its_card_says_so(data, tmp_path, capfd, sieve):
    bundle = write_tiny_bundle(tmp_path / "bundle", sieve=sieve)
    assert evaluate(bundle, "--cascade", "--data", data, "--out", tmp_path / "card") == 0
    card = json.loads((tmp_path / "card" / "card.json").read_text())
    cascade = card["models"]["entries"][0]["cascade"]
    assert ("a sieve" in cascade["index"]) == sieve
    assert cascade["chosen_on_dev"]["dev_pictures"] == 16
    assert 0 < cascade["pairs"] <= 30 * 150
    assert any("lengths chosen on dev" in note for note in card["notes"])
    kept = json.loads((bundle / "cascade.json").read_text())
    assert evaluate(bundle, "--cascade", "--data", data, "--out", tmp_path / "again") == 0
    assert json.loads((bundle / "cascade.json").read_text()) == kept
    again = json.loads((tmp_path / "again" / "card.json").read_text())
    assert again["models"]["entries"][0]["cascade"] == cascade


@pytest.mark.parametrize("sieve", [False, True])
def test_captions_in_parts_give_the_same_scores_and_the_rest_stays_behind(data, tmp_path, monkeypatch, sieve):
    bundle, split = (
        load_bundle(write_tiny_bundle(tmp_path / "bundle", sieve=sieve)),
        open_data(data, log=lambda _: None).split("test"),
    )
    lists = Lists(3, 7, 16, 80, "", "", 0.0)
    whole, about = cascade_scores(bundle, split, lists, "float32", lambda _: lambda *_: None)
    heard = []
    monkeypatch.setattr(choosing, "CAPTIONS_AT_A_TIME", 47)
    monkeypatch.setattr(choosing, "IMAGES_KEPT", 1)
    parts, again = cascade_scores(
        bundle, split, lists, "float32", lambda task: lambda *told: heard.append((task, told))
    )
    assert again == about
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    counts = {task: [told[1] for name, told in heard if name == task] for task, _ in heard}
    assert counts["encoding"][-1] == 150
    assert counts["scoring short lists"][-1] == about["pairs"]
    assert all(row == sorted(row) for row in counts.values())

    scored = np.zeros(whole.shape, bool)
    near = nearness(bundle, split, lambda _: lambda *_: None).matrix
    for row, columns in enumerate(short_lists(near, about["pictures"], about["captions"])):
        scored[row, columns] = True
    model = bundle.reranker
    np.testing.assert_allclose(whole[scored], score_split(model.model, model.vocabulary, split)[scored], atol=1e-5)
    assert whole[~scored].max() < whole[scored].min()
    for row, left in enumerate(~scored):  # in the order of what brought the others up
        np.testing.assert_allclose(np.diff(whole[row, left]), np.diff(near[row, left]), atol=1e-4)


def test_a_broken_choice_is_made_again(data, tmp_path, capfd):
    bundle = write_tiny_bundle(tmp_path / "bundle")
    (bundle / "cascade.json").write_text("{")
    assert evaluate(bundle, "--cascade", "--data", data, "--out", tmp_path / "card") == 0
    assert json.loads((bundle / "cascade.json").read_text())["pictures"] > 0


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
