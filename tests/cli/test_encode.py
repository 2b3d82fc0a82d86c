"""`crossgraph encode`: codes in a file that is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from references.tiny_run import write_tiny_run
from safetensors import safe_open

import crossgraph as cg
from crossgraph.cli.main import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_tiny_run(tmp_path / "run")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (20, 10), (80 * number, 40, 0)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.txt"
    path.write_text("a dog runs\nthe red zebra\n\n")
    return path


@pytest.mark.filterwarnings("default::crossgraph.pipeline.UnknownWords")
def test_both_sides_go_into_one_file_with_their_names(run, photos, sentences, tmp_path, capfd):
    out = tmp_path / "codes.safetensors"
    assert main(["encode", str(run), str(photos), "--texts", str(sentences), "--out", str(out)]) == 0
    printed, said = capfd.readouterr()
    assert printed.startswith(f"{out}: ")
    assert "left out" in said and "broken.png" in said and "'zebra'" in said
    with safe_open(out, "numpy") as file:
        about = json.loads(file.metadata()["crossgraph"])
        pictures, texts = file.get_tensor("pictures.local"), file.get_tensor("texts.local")
    assert [Path(name).name for name in about["pictures"]["ids"]] == ["0.png", "1.png", "2.png"]
    assert about["texts"]["texts"] == ["a dog runs", "the red zebra"]
    assert about["texts"]["unknown"] == [[], ["zebra"]] and about["texts"]["tokens"] == [5, 5]
    assert pictures.shape == (3, 4, 8) and texts.shape == (2, 5, 8)
    np.testing.assert_allclose(texts[0], cg.load(run).encode_texts(["a dog runs"]).local[0], atol=1e-6)


def test_one_array_goes_into_npy_with_its_rows_beside_it(run, photos, tmp_path):
    out = tmp_path / "codes.npy"
    assert main(["encode", str(run), str(photos), "--part", "global", "--dtype", "float16", "--out", str(out)]) == 0
    array, about = np.load(out), json.loads((tmp_path / "codes.npy.json").read_text())
    assert array.shape == (3, 8) and array.dtype == np.float16
    assert about["part"] == "global" and len(about["pictures"]["ids"]) == 3
    assert about["made_by"]["model"] == "saf" and len(about["made_by"]["weights_sha256"]) == 64


def test_own_features_are_encoded_too(run, tmp_path):
    features = np.random.default_rng(0).standard_normal((4, 3, 6)).astype(np.float32)
    np.save(tmp_path / "own.npy", features)
    out = tmp_path / "codes.npy"
    assert main(["encode", str(run), "--features", str(tmp_path / "own.npy"), "--out", str(out)]) == 0
    np.testing.assert_allclose(np.load(out), cg.load(run).encode_pictures(features).local, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}", "--out", "{out}.npy"], "nothing to encode"),
        (["{run}", "{photos}", "--out", "{out}.txt"], "must end in"),
        (["{run}", "{photos}", "--texts", "{texts}", "--out", "{out}.npy"], "one side's codes only"),
        (["{run}", "{photos}", "--part", "index", "--out", "{out}.npy"], "--part index"),
        (["{run}", "{photos}", "--part", "local", "--out", "{out}.safetensors"], "holds all parts"),
        (["{run}", "{photos}/broken.png", "--out", "{out}.npy"], "broken.png"),
        (["{run}", "{photos}/none.png", "--out", "{out}.npy"], "no such file"),
        (["{run}", "--features", "{texts}", "--out", "{out}.npy"], "not a whole .npy"),
        (["{run}", "{photos}", "--features", "{texts}", "--out", "{out}.npy"], "give one of them"),
        (["{run}", "--texts", "{photos}", "--out", "{out}.npy"], "photos"),
        (["{run}/none", "--texts", "{texts}", "--out", "{out}.npy"], "no such folder"),
        (["{run}", "--texts", "{texts}", "--out", "{texts}/codes.npy"], "is a file where a folder is wanted"),
    ],
)
def test_what_cannot_be_done_is_one_line(words, said, run, photos, sentences, tmp_path, capfd):
    places = {"run": run, "photos": photos, "texts": sentences, "out": tmp_path / "codes"}
    assert main(["encode", *(word.format(**places) for word in words)]) == 2
    printed, lines = capfd.readouterr()
    assert printed == "" and "Traceback" not in lines
    assert said in lines.splitlines()[-1]
    assert not list(tmp_path.glob("*codes*"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: np.ones((2, 3, 7)), "own.npy, picture 0: features are 7 wide"),
        (lambda: np.stack([np.ones((3, 6)), np.full((3, 6), np.nan)]), "own.npy, picture 1: holds NaN"),
        (lambda: np.full((1, 3, 6), 1e300), "own.npy, picture 0: holds NaN or infinite"),
        (lambda: np.full((1, 3, 6), 3e38), "own.npy, picture 0: its code is no number"),
    ],
)
def test_own_features_that_do_not_fit_are_named_by_their_file(make, said, run, tmp_path, capfd):
    np.save(tmp_path / "own.npy", make())
    out = tmp_path / "codes.npy"
    assert main(["encode", str(run), "--features", str(tmp_path / "own.npy"), "--out", str(out)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line and not list(tmp_path.glob("codes*"))


def test_a_folder_where_the_rows_names_would_go_is_seen_before_the_work(run, photos, tmp_path, capfd):
    (tmp_path / "codes.npy.json").mkdir()
    assert main(["encode", str(run), str(photos), "--out", str(tmp_path / "codes.npy")]) == 2
    (line,) = capfd.readouterr().err.splitlines()  # nothing of pictures yet
    assert "codes.npy.json: is a folder" in line


@pytest.mark.parametrize(("text", "said"), [("", "holds no sentence"), ("a dog\n\nthe cat\n", "line 2 is empty")])
def test_a_file_of_sentences_has_one_a_line(text, said, run, tmp_path, capfd):
    (tmp_path / "s.txt").write_text(text)
    assert main(["encode", str(run), "--texts", str(tmp_path / "s.txt"), "--out", str(tmp_path / "c.npy")]) == 2
    assert said in capfd.readouterr().err
