"""`crossgraph score`: a matrix that is whole or not there, and one line for what a person can mend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossgraph.cli.main import main


@pytest.fixture(scope="session")
def published(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, data = tmp_path_factory.mktemp("score"), goldens / "sgraf" / "dataset"
    vocabulary = data / "vocab" / "tiny_precomp_vocab.json"
    words = ["import", "sgraf", goldens / "sgraf" / "saf_bigru.pth", "--vocab", vocabulary, "--out", folder / "run"]
    assert main([str(word) for word in words]) == 0
    return folder / "run"


@pytest.fixture
def data(goldens: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data set, to be spoilt."""
    return Path(shutil.copytree(goldens / "sgraf" / "dataset" / "tiny_precomp", tmp_path / "tiny_precomp"))


@pytest.fixture
def score(published: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Call the command with some options changed; return its exit code and what it printed."""

    def call(**changes: object) -> tuple[int, str, str]:
        options = {"run": published, "data": data, "out": tmp_path / "scores.npy", "split": "test", **changes}
        words = ["score", str(options.pop("run"))]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        code = main(words)
        return code, *capfd.readouterr()

    return call


def refused(found: tuple[int, str, str], *parts: str) -> None:
    code, out, err = found
    lines = err.splitlines()
    assert code == 2, err
    assert out == ""
    assert lines[-1].startswith("crossgraph score: ")
    assert "Traceback" not in err
    for part in parts:
        assert part in lines[-1]


def test_it_writes_the_matrix_and_says_so(score, tmp_path):
    code, out, _ = score()
    assert code == 0
    assert out.startswith("15 images × 75 captions -> ")
    scores = np.load(tmp_path / "scores.npy")
    assert scores.shape == (15, 75)
    assert scores.dtype == np.float32
    note = json.loads((tmp_path / "scores.npy.json").read_text())
    assert note["split"] == "test"
    assert note["models"][0]["model"] == "saf"


def test_the_same_command_gives_the_same_bytes(score, tmp_path):
    score()
    first = (tmp_path / "scores.npy").read_bytes()
    score()
    assert (tmp_path / "scores.npy").read_bytes() == first


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"run": "nowhere"}, ("nowhere", "no such folder")),
        ({"data": "nowhere"}, ("nowhere", "no such folder")),
        ({"split": "tset"}, ("no split 'tset'", "did you mean 'test'?")),
        ({"split": "dev"}, ("no split 'dev'", "test")),
        ({"out": "scores.txt"}, ("scores.txt", ".npy")),
        ({"device": "gpu"}, ("gpu",)),
        ({"features": "nowhere"}, ("nowhere",)),
    ],
)
def test_a_wrong_word_is_one_line(score, changes, parts, tmp_path):
    refused(score(**changes), *parts)
    assert not (tmp_path / "scores.npy").exists()


def test_a_folder_in_the_files_place_is_one_line(score, tmp_path):
    (tmp_path / "scores.npy").mkdir()
    refused(score(), "scores.npy", "is a folder")


def test_features_of_another_width_are_one_line(score, data):
    features = np.load(data / "test_ims.npy")
    np.save(data / "test_ims.npy", features[:, :, :32])
    refused(score(), "32 wide", "takes 64")


def test_another_number_of_regions_is_one_line(score, data):
    features = np.load(data / "test_ims.npy")
    np.save(data / "test_ims.npy", features[:, :5])
    refused(score(), "5 regions", "exactly 7")


def test_a_nan_feature_is_one_line_and_leaves_nothing(score, data, tmp_path):
    features = np.load(data / "test_ims.npy")
    features[11, 2, 3] = np.nan
    np.save(data / "test_ims.npy", features)
    refused(score(), "NaN")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_precomp"]


def test_truncated_features_are_one_line(score, data):
    path = data / "test_ims.npy"
    path.write_bytes(path.read_bytes()[:-100])
    refused(score(), "test_ims.npy", "truncated")


def test_another_vocabulary_is_one_line(score, published, tmp_path):
    run = Path(shutil.copytree(published, tmp_path / "run"))
    words = json.loads((run / "vocabulary.json").read_text())
    words["word2idx"]["more"] = words["idx"]
    words["idx2word"][str(words["idx"])] = "more"
    words["idx"] += 1
    (run / "vocabulary.json").write_text(json.dumps(words))
    refused(score(run=run), "vocabulary.json", "51 entries", "50")


def test_a_stop_midway_leaves_the_place_as_it_was(score, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    score()
    before = (tmp_path / "scores.npy").read_bytes()
    monkeypatch.setattr("crossgraph.scoring.engine.score_rows", stopped)
    code, _, err = score()
    assert code == 130
    assert err.splitlines()[-1].startswith("crossgraph score: stopped: ")
    assert (tmp_path / "scores.npy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.npy", "scores.npy.json", "tiny_precomp"]
