"""`crossgraph explain`: a table or JSON on stdout, a figure where asked, and one line for what a person can mend."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from references.tiny_run import write_tiny_run

from crossgraph.cli.main import main

SENTENCE = "a red dog runs over the snow"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("explain") / "tiny")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("explain") / "published", "sgr", "published")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    np.save(tmp_path / "own.npy", np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32))
    return tmp_path / "own.npy"


@pytest.fixture
def explain(capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        code = main(["explain", *map(str, words)])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


def refused(found: tuple[int, str, str], *parts: str) -> None:
    code, out, err = found
    assert code == 2, err
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("crossgraph explain: ")
    for part in parts:
        assert part in line


def test_the_table_has_a_row_a_word_and_says_what_the_numbers_are(explain, run, picture):
    code, out, err = explain(run, picture, SENTENCE)
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:10]] == ["<start>", *SENTENCE.split(), "<end>"]
    assert lines[10].startswith("global node")
    assert "upper" in out or "lower" in out
    assert "SAF's filtration weights" in out
    assert "not a probability" in out


def test_json_holds_the_whole_alignment(explain, run, picture):
    code, out, _ = explain(run, picture, SENTENCE, "--json")
    found = json.loads(out)
    assert code == 0
    assert [token["text"] for token in found["tokens"]] == ["<start>", *SENTENCE.split(), "<end>"]
    assert np.array(found["weights"]).shape == (9, 4)
    np.testing.assert_allclose(np.sum(found["weights"], axis=1), 1, atol=1e-5)
    shares = [token["significance"] for token in found["tokens"]]
    assert sum(shares) + found["global_significance"] == pytest.approx(1, abs=1e-5)
    assert 0 <= found["score"] <= 1
    assert found["boxes"][0] == [0, 0, 0.5, 0.5]
    assert found["picture"] == str(picture)


def test_words_that_are_unknown_are_named_and_marked(explain, run, picture):
    code, out, err = explain(run, picture, "a purple dog")
    assert code == 0
    assert "purple (unknown)" in out
    assert "'purple'" in err
    assert json.loads(explain(run, picture, "a purple dog", "--json")[1])["unknown"] == ["purple"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_figure_is_a_picture_wide_enough_to_read(explain, run, picture, tmp_path, theme):
    code, _, err = explain(run, picture, SENTENCE, "--out", tmp_path / "why.png", "--theme", theme)
    assert code == 0, err
    assert f"figure: {tmp_path / 'why.png'}" in err
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.format == "PNG"
        assert drawn.width >= 1200
        pixels = np.asarray(drawn.convert("RGB"))
    assert (pixels[3, 3].min() > 240) == (theme == "light")
    assert len(np.unique(pixels @ [65536, 256, 1])) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["why.png"]


def test_json_and_a_figure_can_be_had_at_once(explain, run, picture, tmp_path):
    _, out, _ = explain(run, picture, SENTENCE, "--json", "--out", tmp_path / "why.svg")
    assert json.loads(out)["run"] == "tiny"
    assert (tmp_path / "why.svg").read_text().startswith("<?xml")


def test_runs_on_published_features_take_a_pictures_own(explain, published, picture, own, tmp_path):
    refused(explain(published, picture, SENTENCE), "published features", "--features FILE.npy")
    code, out, _ = explain(published, picture, SENTENCE, "--features", own)
    assert code == 0
    assert "region " in out
    assert "SGR's edges" in out
    np.save(tmp_path / "boxes.npy", np.array([[0.0, 0.5, 0.2, 1.0]] * 5))
    code, out, _ = explain(published, picture, SENTENCE, "--features", own, "--boxes", tmp_path / "boxes.npy")
    assert code == 0
    assert "lower left" in out


def test_one_picture_of_several_is_chosen_by_its_row(explain, published, picture, own, tmp_path):
    one = np.load(own)
    np.save(tmp_path / "many.npy", np.stack([np.zeros_like(one), one]))
    many = explain(published, picture, SENTENCE, "--features", tmp_path / "many.npy", "--row", 1)
    assert many == explain(published, picture, SENTENCE, "--features", own)
    refused(explain(published, picture, SENTENCE, "--features", tmp_path / "many.npy", "--row", 2), "holds 2 pictures")
    refused(explain(published, picture, SENTENCE, "--features", own, "--row", 1), "one picture")


def test_boxes_of_one_picture_go_with_whichever_row_is_chosen(explain, published, picture, own, tmp_path):
    np.save(tmp_path / "many.npy", np.stack([np.load(own)] * 2))
    np.save(tmp_path / "boxes.npy", np.array([[0.0, 0.5, 0.2, 1.0]] * 5))
    given = ("--features", tmp_path / "many.npy", "--row", 1, "--boxes", tmp_path / "boxes.npy")
    code, out, err = explain(published, picture, SENTENCE, *given)
    assert code == 0 and "lower left" in out, err


def test_a_row_of_no_features_is_refused(explain, run, picture):
    refused(explain(run, picture, SENTENCE, "--row", 3), "--row 3 without --features")


def test_features_without_boxes_still_make_a_figure(explain, published, picture, own, tmp_path):
    code, _, err = explain(published, picture, SENTENCE, "--features", own, "--out", tmp_path / "why.png")
    assert code == 0, err
    assert (tmp_path / "why.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: np.zeros((5, 4)), ("bad.npy", "4 wide", "takes 6")),
        (lambda: np.zeros(6), ("bad.npy", "shape (6,)")),
        (lambda: np.full((5, 6), np.nan), ("bad.npy", "NaN")),
        (lambda: np.zeros((0, 6)), ("bad.npy",)),
        (lambda: np.zeros((0, 5, 6)), ("bad.npy", "holds no picture")),
        (lambda: np.full((5, 6), 1e300), ("bad.npy", "infinite")),
        (lambda: np.array([["a", "b"]]), ("bad.npy", "no real numbers")),
    ],
)
def test_features_that_do_not_fit_are_one_line(explain, published, picture, tmp_path, make, parts):
    np.save(tmp_path / "bad.npy", make())
    refused(explain(published, picture, SENTENCE, "--features", tmp_path / "bad.npy"), *parts)


def test_features_that_are_no_array_are_one_line(explain, published, picture, own, tmp_path):
    own.write_bytes(own.read_bytes()[:-7])
    refused(explain(published, picture, SENTENCE, "--features", own), "own.npy", "truncated")
    refused(explain(published, picture, SENTENCE, "--features", picture), "photo.png", "no .npy")
    refused(explain(published, picture, SENTENCE, "--features", tmp_path), "is a folder")
    refused(explain(published, picture, SENTENCE, "--features", tmp_path / "none.npy"), "none.npy", "no such file")


@pytest.mark.parametrize(
    ("boxes", "part"),
    [
        (np.zeros((4, 4)), "(5, 4)"),
        (np.array([[0, 0, 300, 200]] * 5), "pixels"),
        (np.array([[0.5, 0.5, 0.1, 0.9]] * 5), "left, top, right, bottom"),
        (np.full((5, 4), np.nan), "left, top, right, bottom"),
    ],
)
def test_boxes_that_are_none_are_one_line(explain, published, picture, own, tmp_path, boxes, part):
    np.save(tmp_path / "boxes.npy", boxes)
    found = explain(published, picture, SENTENCE, "--features", own, "--boxes", tmp_path / "boxes.npy")
    refused(found, "boxes.npy", part)
    refused(explain(published, picture, SENTENCE, "--boxes", tmp_path / "boxes.npy"), "--boxes without --features")


def test_pictures_that_are_none_are_one_line(explain, run, picture, tmp_path):
    (tmp_path / "words.jpg").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:4000])
    (tmp_path / "empty.png").write_bytes(b"")
    refused(explain(run, tmp_path / "words.jpg", SENTENCE), "words.jpg", "not a picture")
    refused(explain(run, tmp_path / "cut.png", SENTENCE), "cut.png", "truncated")
    refused(explain(run, tmp_path / "empty.png", SENTENCE), "empty.png", "empty file")
    refused(explain(run, tmp_path / "none.png", SENTENCE), "none.png", "no such file")
    refused(explain(run, tmp_path, SENTENCE), "is a folder")


@pytest.mark.parametrize(("sentence", "part"), [("", "empty"), (" \t\n", "empty"), ("zorb blarg", "knows no word")])
def test_sentences_of_no_known_word_are_one_line(explain, run, picture, tmp_path, sentence, part):
    refused(explain(run, picture, sentence, "--out", tmp_path / "why.png"), part)
    assert not list(tmp_path.iterdir())


def test_runs_that_are_none_are_one_line(explain, picture, tmp_path):
    bare = write_tiny_run(tmp_path / "bare")
    (bare / "vocabulary.json").unlink()
    refused(explain(bare, picture, SENTENCE), "vocabulary.json", "no such file")
    refused(explain(tmp_path / "none", picture, SENTENCE), "none", "no such folder")


def test_places_that_take_no_figure_are_told_first(explain, run, picture, tmp_path):
    (tmp_path / "folder.png").mkdir()
    refused(explain(run, picture, SENTENCE, "--out", tmp_path / "none" / "why.png"), "none", "no such folder")
    refused(explain(run, picture, SENTENCE, "--out", tmp_path / "folder.png"), "is a folder")
    refused(explain(run, picture, SENTENCE, "--out", tmp_path / "why.gif"), ".png, .svg, .pdf")
    refused(explain(run, picture, SENTENCE, "--out", tmp_path / "why"), ".png, .svg, .pdf")
    refused(explain(run, picture, SENTENCE, "--out", picture), "the picture itself")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_without_matplotlib_only_the_figure_is_refused(explain, run, picture, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused(explain(run, picture, SENTENCE, "--out", tmp_path / "why.png"), "pip install 'crossgraph[explain]'")
    assert explain(run, picture, SENTENCE)[0] == 0
