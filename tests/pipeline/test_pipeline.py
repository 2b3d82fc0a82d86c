"""The object for people: paths, open pictures, own features and strings in; arrays, rankings, alignments out."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from references.tiny_run import write_tiny_run

import crossgraph as cg
from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.pipeline import Pipeline, UnknownWords, alignment_of
from crossgraph.runs import load_run
from crossgraph.vision.region_encoder import load_region_encoder

TEXTS = ["a dog runs", "the red cat", "a dog runs over the green grass in the snow"]


@pytest.fixture(autouse=True)
def _words_may_be_unknown():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWords)
        yield


@pytest.fixture(scope="module", params=["saf", "sgr"])
def pipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return cg.load(write_tiny_run(tmp_path_factory.mktemp("runs") / request.param, request.param))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(11)]
    for path in paths:
        Image.fromarray(random.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5, 4, 6)).astype(np.float32)


def test_paths_strings_and_open_pictures_are_the_same_pictures(pipe, pictures):
    by_path = pipe.encode_pictures(pictures[:3])
    by_string = pipe.encode_pictures([str(path) for path in pictures[:3]])
    opened = pipe.encode_pictures([Image.open(path) for path in pictures[:3]])
    assert by_path.local.dtype == np.float32 and by_path.local.shape == (3, 4, 8)
    np.testing.assert_array_equal(by_path.local, by_string.local)
    np.testing.assert_array_equal(by_path.local, opened.local)
    assert by_path.ids == by_string.ids == opened.ids == [str(path) for path in pictures[:3]]
    assert by_path.boxes.shape == (3, 4, 4)


def test_own_features_are_welcome_as_one_array_or_many(pipe, features):
    together, apart = pipe.encode_pictures(features), pipe.encode_pictures(list(features))
    np.testing.assert_allclose(together.local, apart.local, atol=1e-6)
    assert together.boxes is None and together.ids[4] == "picture 4"
    regions = Regions(torch.from_numpy(features), torch.ones(5, 4, dtype=torch.bool))
    np.testing.assert_allclose(pipe.encode_pictures(regions).local, together.local, atol=1e-6)


def test_pictures_of_fewer_regions_score_as_they_do_alone(pipe, features):
    some = [features[0][:2], features[1], features[2][:3]]
    together = pipe.rank(texts=TEXTS, pictures=some).scores
    alone = np.concatenate([pipe.rank(texts=TEXTS, pictures=[one]).scores for one in some])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_pictures_and_own_features_mix_in_the_order_given(pipe, pictures, features):
    own = pipe.regions([pictures[1]]).features[0].numpy()
    codes = pipe.encode_pictures([pictures[0], features[0], pictures[1], own])
    np.testing.assert_allclose(codes.local[2], codes.local[3], atol=0.2)  # the tiny encoder is noisy by batch
    np.testing.assert_allclose(codes.local[1], pipe.encode_pictures([features[0]]).local[0], atol=1e-6)


def test_texts_come_back_in_the_order_given_padded_with_zeros(pipe):
    codes = pipe.encode_texts(TEXTS)
    assert codes.mask.sum(axis=1).tolist() == [5, 5, 12]
    assert not codes.local[~codes.mask].any()
    for row, text in enumerate(TEXTS):
        alone = pipe.encode_texts([text])
        np.testing.assert_allclose(alone.local[0], codes.local[row, : alone.local.shape[1]], atol=1e-6)
        np.testing.assert_allclose(alone.parts["global"][0], codes.parts["global"][row], atol=1e-6)


def test_ranking_by_codes_equals_ranking_by_what_was_encoded(pipe, features):
    texts = [*TEXTS, "the dog"] * 40  # more than a bucket
    by_strings = pipe.rank(texts=texts, pictures=features)
    by_codes = pipe.rank(texts=pipe.encode_texts(texts), pictures=pipe.encode_pictures(features))
    assert by_strings.scores.shape == (5, 160)
    np.testing.assert_allclose(by_codes.scores, by_strings.scores, atol=1e-5)


def test_best_answers_come_best_first(pipe, pictures):
    ranking = pipe.rank(texts=TEXTS, pictures=pictures)
    found = ranking.best_pictures(1, k=4)
    assert [match.score for match in found] == sorted(ranking.scores[:, 1].tolist(), reverse=True)[:4]
    assert found[0].name == str(pictures[int(ranking.scores[:, 1].argmax())])
    assert ranking.best_texts(2, k=1)[0].name == TEXTS[int(ranking.scores[2].argmax())]
    assert len(ranking.best_texts(0, k=99)) == 3


def test_an_alignment_holds_the_words_the_boxes_and_the_score_of_the_ranking(pipe, pictures):
    sentence = "A dog, in the SNOW"
    found = pipe.explain(pictures[0], sentence)
    said = [token.text for token in found.tokens]
    assert said == ["<start>", "A", "dog", ",", "in", "the", "SNOW", "<end>"]
    assert [sentence[token.start : token.end] for token in found.tokens if not token.special] == [
        token.text for token in found.tokens if not token.special
    ]
    assert [found.tokens[row].text for row in found.content] == ["dog", "SNOW"]
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-5)
    assert found.significance.sum() + found.global_significance == pytest.approx(1, abs=1e-5)
    assert found.boxes.shape == (4, 4) and found.picture == pictures[0]
    assert found.unknown == (",",) and not found.tokens[3].known and found.tokens[2].known
    assert found.score == pytest.approx(
        float(pipe.rank(texts=[sentence], pictures=[pictures[0]]).scores[0, 0]), abs=1e-5
    )


def test_an_alignment_is_the_same_from_a_splits_regions(pipe, pictures):
    regions = load_region_encoder("tiny").encode(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))
    found = alignment_of(load_run(pipe.run.path), regions, "a dog")
    assert found.weights.shape == (4, 4) and found.picture is None
    again = pipe.explain(regions.features[0].numpy(), "a dog", boxes=regions.boxes[0].numpy())
    np.testing.assert_allclose(again.weights, found.weights, atol=1e-6)
    np.testing.assert_array_equal(again.boxes, found.boxes)


def test_an_alignment_becomes_json(pipe, pictures):
    import json

    value = json.loads(json.dumps(pipe.explain(pictures[0], "a dog zzz").as_json(), allow_nan=False))
    assert value["unknown"] == ["zzz"] and value["picture"] == str(pictures[0])
    assert [len(row) for row in value["weights"]] == [4] * len(value["tokens"])
    assert value["tokens"][2]["text"] == "dog" and value["tokens"][2]["significance"] > 0


def test_unknown_words_are_warned_of_and_returned(pipe, features):
    with pytest.warns(UnknownWords, match="2 words are unknown to .* and read as <unk>: 'zebra', 'yak'$"):
        ranking = pipe.rank(texts=["a zebra", "a dog", "a yak over a zebra in snow"], pictures=features)
    assert ranking.unknown == [["zebra"], [], ["yak", "zebra"]]
    assert pipe.unknown_words("a zebra") == ["zebra"]


@pytest.mark.parametrize(
    ("texts", "said"), [(["flurb"], "knows no word"), ([""], "empty"), (["a dog", "  "], "empty"), ([], "no sentence")]
)
def test_a_sentence_that_says_nothing_is_refused(pipe, features, texts, said):
    for call in (lambda: pipe.encode_texts(texts), lambda: pipe.rank(texts=texts, pictures=features)):
        with pytest.raises(InputError, match=said):
            call()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f[:, :, :5], "5 wide"),
        (lambda f: f[None], r"shape \(1, 5, 4, 6\)"),
        (lambda f: np.where(np.arange(6) == 3, np.nan, f), "NaN"),
        (lambda f: f[:0], "no picture"),
        (lambda f: f[:, :0], "no region"),
        (lambda f: f.astype("U3"), "real numbers"),
    ],
)
def test_features_that_do_not_fit_are_refused(pipe, features, spoil, said):
    with pytest.raises(InputError, match=said):
        pipe.encode_pictures(spoil(features))


def test_a_picture_that_is_none_is_refused_or_left_out_when_asked(pipe, pictures, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(InputError, match=r"bad\.png: not a picture"):
        pipe.encode_pictures([tmp_path / "bad.png"])
    told: list[str] = []
    codes = pipe.encode_pictures(
        [pictures[0], tmp_path / "bad.png", pictures[1]], broken=lambda name, why: told.append(why)
    )
    assert codes.ids == [str(pictures[0]), str(pictures[1])] and told[0].startswith("not a picture")
    with pytest.raises(InputError, match="none of the pictures"):
        pipe.encode_pictures([tmp_path / "bad.png"], broken=lambda name, why: None)
    for wrong, said in ((tmp_path, "is a folder"), (tmp_path / "none.png", "no such file")):
        with pytest.raises(InputError, match=said):
            pipe.explain(wrong, "a dog")


@pytest.mark.parametrize(
    "boxes", [np.zeros((3, 4)), np.full((4, 4), 2.0), np.tile([0.5, 0, 0.1, 1], (4, 1)), np.full((4, 4), np.nan)]
)
def test_boxes_that_are_none_are_refused(pipe, features, boxes):
    with pytest.raises(InputError, match="boxes"):
        pipe.explain(features[0], "a dog", boxes=boxes)


def test_a_run_on_published_features_takes_features_but_no_picture(tmp_path, pictures, features):
    pipe = cg.load(str(write_tiny_run(tmp_path / "run", region_encoder="published")))
    assert pipe.rank(texts=["a dog"], pictures=features).scores.shape == (5, 1)
    with pytest.raises(InputError, match="published features"):
        pipe.explain(pictures[0], "a dog")


def test_a_run_whose_encoder_gives_other_features_says_so(tmp_path, pictures):
    from references.tiny_regions import TinyRegions

    pipe = cg.load(write_tiny_run(tmp_path / "run"))
    wide = TinyRegions()
    wide.feature_size = 7
    pipe.__dict__.pop("region_encoder", None)
    import crossgraph.pipeline.pipeline as module

    original, module.load_region_encoder = module.load_region_encoder, lambda name: wide
    try:
        with pytest.raises(InputError, match="7 wide"):
            pipe.encode_pictures(pictures[:1])
    finally:
        module.load_region_encoder = original


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        cg.load(tmp_path / "none")
    folder = write_tiny_run(tmp_path / "run")
    (folder / "vocabulary.json").unlink()
    with pytest.raises(InputError, match=r"vocabulary\.json: no such file"):
        cg.load(folder)


def test_importing_the_package_brings_no_torch():
    code = "import crossgraph, sys; assert 'torch' not in sys.modules; crossgraph.load; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="lod"):
        cg.lod  # noqa: B018
