"""`crossgraph train` given what it cannot use: one line naming it and the remedy, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from references.tiny_pairs import tiny_split, write_precomp

from crossgraph.cli.main import main
from crossgraph.data.split import Split
from crossgraph.text.vocabulary import Vocabulary

SMALL = ["--small", "--device", "cpu"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_precomp(tmp_path / "tiny_precomp", {"train": 20, "dev": 6})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on data like `data`."""
    folder = tmp_path_factory.mktemp("module")
    data = write_precomp(folder / "tiny_precomp", {"train": 20, "dev": 6})
    assert main(["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(folder / "run"), *SMALL]) == 0
    return folder / "run"


def refused(capsys: pytest.CaptureFixture[str], out: Path, *words: str, recipe: str = "sgraf-saf-scenes") -> str:
    existed = sorted(out.rglob("*")) if out.is_dir() else out.exists()
    capsys.readouterr()
    assert main(["train", recipe, "--out", str(out), *SMALL, *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    last = said.err.splitlines()[-1]
    assert last.startswith("crossgraph train: ")
    assert sum(line.startswith("crossgraph train: ") for line in said.err.splitlines()) == 1
    assert (sorted(out.rglob("*")) if out.is_dir() else out.exists()) == existed
    return last


def test_data_that_is_not_there(tmp_path, capsys):
    assert str(tmp_path / "none") in refused(capsys, tmp_path / "run", "--data", str(tmp_path / "none"))


def test_an_empty_folder(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refused(capsys, tmp_path / "run", "--data", str(tmp_path / "empty"))


def test_data_without_a_dev_split(tmp_path, capsys):
    data = write_precomp(tmp_path / "tiny_precomp", {"train": 20, "test": 6})
    line = refused(capsys, tmp_path / "run", "--data", str(data))
    assert "has no split 'dev' (it has train, test)" in line and "never by 'test'" in line


def test_captions_that_do_not_match_the_images(data, tmp_path, capsys):
    with (data / "train_caps.txt").open("a") as file:
        file.write("one more\n")
    assert "41" in refused(capsys, tmp_path / "run", "--data", str(data))


def test_truncated_features(data, tmp_path, capsys):
    content = (data / "train_ims.npy").read_bytes()
    (data / "train_ims.npy").write_bytes(content[: len(content) // 2])
    assert "train_ims.npy" in refused(capsys, tmp_path / "run", "--data", str(data))


@pytest.mark.parametrize("split", ["train", "dev"])
def test_features_with_nan_name_the_picture(data, tmp_path, capsys, split):
    features = np.load(data / f"{split}_ims.npy")
    features[3, 2, 1] = np.nan
    np.save(data / f"{split}_ims.npy", features)
    line = refused(capsys, tmp_path / "run", "--data", str(data), "--max_steps=9")
    assert f"{split}_ims.npy: picture '3' (row 3) holds NaN or infinite values" in line


def test_a_dev_split_of_another_width(data, tmp_path, capsys):
    np.save(data / "dev_ims.npy", np.zeros((6, 6, 9), dtype=np.float32))
    line = refused(capsys, tmp_path / "run", "--data", str(data))
    assert "features are 9 wide" in line and "takes 16" in line


def test_a_recipe_that_is_not_there(data, tmp_path, capsys):
    line = refused(capsys, tmp_path / "run", "--data", str(data), recipe="sgraf-saf-scene")
    assert "did you mean 'sgraf-saf-scenes'" in line


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--optimiser.lrr=1", "unknown key 'optimiser.lrr': did you mean 'lr'"),
        ("--epochs=many", "'epochs' is 'many'"),
        ("--batch=2000000=", "batch"),
        ("--seeds=0", "--seeds is 0"),
        ("--devices=0", "--devices is 0"),
        ("--batch=1", "batch is 1"),
        ("--vocabulary=x", "unknown key 'vocabulary'"),
    ],
)
def test_options_that_cannot_be(data, tmp_path, capsys, word, expected):
    assert expected in refused(capsys, tmp_path / "run", "--data", str(data), word)


def test_a_gpu_that_is_not_there(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = refused(capsys, tmp_path / "run", "--data", str(data), "--device", "cuda")
    assert "torch sees no GPU here: use --device cpu" in line


def test_a_vocabulary_that_is_none(data, tmp_path, capsys):
    (tmp_path / "words.json").write_text("{}")
    for path in ("words.json", "none.json"):
        assert path in refused(capsys, tmp_path / "run", "--data", str(data), "--vocab", str(tmp_path / path))


def test_words_too_rare_for_a_vocabulary(data, tmp_path, capsys):
    line = refused(capsys, tmp_path / "run", "--data", str(data), "--vocabulary_minimum=9999")
    assert "9999" in line


def test_a_folder_that_holds_a_run_or_other_things(data, tmp_path, capsys, run):
    before = (run / "run.json").read_bytes()
    assert "--resume" in refused(capsys, run, "--data", str(data))
    assert (run / "run.json").read_bytes() == before
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    assert "holds other files (a.jpg)" in refused(capsys, tmp_path / "photos", "--data", str(data))
    assert "is a file" in refused(capsys, tmp_path / "photos" / "a.jpg", "--data", str(data))
    assert "/proc/run: cannot be written" in refused(capsys, Path("/proc/run"), "--data", str(data))


def test_a_folder_inside_a_file(data, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refused(capsys, tmp_path / "file" / "run", "--data", str(data))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--optimiser.clip=0.5"], "was trained with optimiser.clip 2.0, now it is 0.5"),
        (["--model.config.sim_size=9"], "model.config.sim_size 8, now it is 9"),
        (["--seed=3"], "was trained with seed 0, now it is 3"),
    ],
)
def test_resuming_with_another_recipe(data, run, capsys, words, expected):
    assert expected in refused(capsys, run, "--data", str(data), "--resume", *words)


def test_resuming_with_other_data_or_words(tmp_path, run, capsys):
    other = write_precomp(tmp_path / "tiny_precomp", {"train": 21, "dev": 6})
    assert "was trained with data.train" in refused(capsys, run, "--data", str(other), "--resume")
    same = write_precomp(tmp_path / "same_precomp", {"train": 20, "dev": 6})
    Vocabulary.build(tiny_split("train", 20).captions, 30).save(tmp_path / "words.json")
    line = refused(capsys, run, "--data", str(same), "--resume", "--vocab", str(tmp_path / "words.json"))
    assert "was trained with vocabulary" in line


def test_a_broken_checkpoint(data, run, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    for path in (broken / "checkpoint").glob("*/state.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    assert "state.safetensors: cannot be read" in refused(capsys, broken, "--data", str(data), "--resume")


def test_resuming_what_is_finished_says_so(data, run, capsys):
    assert main(["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(run), "--resume", *SMALL]) == 0
    said = capsys.readouterr()
    assert "already finished, all 4 steps are done" in said.err
    assert "best dev rSum" in said.out


def test_resuming_nothing_begins(data, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(out), "--resume", *SMALL]) == 0
    assert "no checkpoint yet, training starts from the beginning" in capsys.readouterr().err


def test_fine_tuning_from_what_does_not_fit(data, run, tmp_path, capsys):
    wide = write_precomp(tmp_path / "wide_precomp", {"train": 20, "dev": 6}, width=24)
    out, init = tmp_path / "run", ["--init", str(run)]
    assert "no such folder" in refused(capsys, out, "--data", str(data), "--init", str(tmp_path / "none"))
    line = refused(capsys, out, "--data", str(wide), *init)
    assert "features are 24 wide" in line and "takes 16" in line
    line = refused(capsys, out, "--data", str(data), *init, recipe="sgraf-sgr-scenes")
    assert "is a run of 'saf', the recipe trains 'sgr'" in line
    line = refused(capsys, out, "--data", str(data), *init, "--model.config.sim_size=9")
    assert "model.config.sim_size 8, the recipe says 9" in line and "--model.config.sim_size=8" in line


@pytest.mark.parametrize("absent", [True, False])
def test_the_test_split_is_never_opened(tmp_path, capsys, monkeypatch, absent):
    data = write_precomp(tmp_path / "tiny_precomp", {"train": 20, "dev": 6, "test": 6})
    for path in data.glob("test_*"):
        path.unlink() if absent else path.write_bytes(b"\xff no features")
    from crossgraph.data.dataset import DataSet

    opened: list[str] = []
    original = DataSet.split

    def spied(self: DataSet, name: str) -> Split:
        opened.append(name)
        return original(self, name)

    monkeypatch.setattr(DataSet, "split", spied)
    out = tmp_path / "run"
    assert main(["train", "sgraf-saf-scenes", "--data", str(data), "--out", str(out), *SMALL]) == 0
    assert set(opened) == {"train", "dev"}
    assert json.loads((out / "run.json").read_text())["chosen_by"]["split"] == "dev"
