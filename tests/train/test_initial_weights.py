"""`crossgraph train` with word vectors or a text model: what it begins with, keeps, records and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from references.tiny_pairs import THINGS, write_precomp
from references.tiny_transformers import save_text_model, save_tower
from safetensors.torch import load_file

from crossgraph.cli.main import main
from crossgraph.core.errors import InputError
from crossgraph.runs import load_run
from crossgraph.text.pieces import PieceVocabulary
from crossgraph.train import loop
from crossgraph.train.config import ModelChoice, Recipe
from crossgraph.train.initial_weights import resolve_text_encoder

PIECES = ["a", "thing", *(f"##{number}" for number in range(THINGS))]
STILL = ["--optimiser.lr=1e-12", "--optimiser.weight_decay=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_precomp(tmp_path_factory.mktemp("data") / "tiny_precomp", {"train": 20, "dev": 6})


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "bert"
    save_text_model(folder, PIECES)
    return folder


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Vectors of size 8, the small recipe's, for half of the words: thing N is all N."""
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"thing{number} {' '.join([str(number)] * 8)}\n" for number in range(0, THINGS, 2)))
    return path


def train(data: Path, out: Path, *words: str) -> int:
    line = ["train", "sgraf-saf-scenes", "--small", "--device", "cpu", "--data", str(data), "--out", str(out)]
    return main([*line, *words])


def embedding(out: Path) -> dict[str, torch.Tensor]:
    run = load_run(out)
    weight = load_file(out / "model.safetensors")["encode_words.embedding.weight"]
    return dict(zip(run.vocabulary.words, weight, strict=True))


def test_known_words_begin_with_their_vectors_and_the_run_says_so(data, vectors, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--word-vectors", str(vectors), *STILL) == 0
    assert "vectors for 6 of 13 words (46.2 %)" in capsys.readouterr().err
    words = embedding(tmp_path / "run")
    assert torch.allclose(words["thing4"], torch.full((8,), 4.0), atol=1e-6)
    assert words["thing3"].abs().max() <= 0.1
    record = load_run(tmp_path / "run").info.began_with["word_vectors"]
    assert (record["file"], record["found"], record["words"], record["width"]) == ("vectors.txt", 6, 13, 8)


class Killed(BaseException):
    """Stands for a kill."""


def test_resuming_does_not_put_the_vectors_back_and_asks_for_the_same_file(
    data, vectors, tmp_path, capsys, monkeypatch
):
    words = ["--word-vectors", str(vectors), "--optimiser.lr=0.05", "--checkpoint.every_steps=1"]
    assert train(data, tmp_path / "whole", *words) == 0
    update = loop.Training.update

    def until(self: loop.Training, group: Any) -> None:
        if self.state.step == 2:
            raise Killed
        update(self, group)

    monkeypatch.setattr(loop.Training, "update", until)
    with pytest.raises(Killed):
        train(data, tmp_path / "parts", *words)
    monkeypatch.setattr(loop.Training, "update", update)
    capsys.readouterr()
    assert train(data, tmp_path / "parts", *words[2:], "--resume") == 2
    assert "was trained with word_vectors" in capsys.readouterr().err
    assert train(data, tmp_path / "parts", *words, "--resume") == 0
    trained, again = embedding(tmp_path / "whole"), embedding(tmp_path / "parts")
    assert torch.equal(again["thing4"], trained["thing4"])
    assert not torch.allclose(again["thing4"], torch.full((8,), 4.0), atol=1e-3)


def test_of_a_run_s_words_the_trained_rows_are_kept(data, vectors, tmp_path):
    assert train(data, tmp_path / "first", *STILL) == 0
    vectors.write_text(vectors.read_text() + "novelty 9 9 9 9 9 9 9 9\n")
    novel = tmp_path / "novel_precomp"
    shutil.copytree(data, novel)
    captions = (novel / "train_caps.txt").read_text()
    (novel / "train_caps.txt").write_text(captions.replace("thing1 ", "novelty "))
    words = ["--word-vectors", str(vectors), "--init", str(tmp_path / "first"), *STILL]
    assert train(novel, tmp_path / "second", *words) == 0
    first, second = embedding(tmp_path / "first"), embedding(tmp_path / "second")
    assert torch.allclose(second["thing4"], first["thing4"], atol=1e-6)
    assert torch.allclose(second["novelty"], torch.full((8,), 9.0), atol=1e-6)


def test_vectors_of_another_width_leave_nothing_behind(data, vectors, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--word-vectors", str(vectors), "--model.config.word_size=300") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "vectors are 8 wide, model.config.word_size is 300: add --model.config.word_size=8" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("training", ["frozen", "fine-tuned"])
def test_a_run_with_a_text_model_needs_its_folder_no_more(data, tmp_path, training):
    folder, out = tmp_path / "bert", tmp_path / "run"
    save_text_model(folder, PIECES)
    published = load_file(folder / "model.safetensors")
    words = ["--text-model", str(folder), f"--model.config.text_training={training}", "--optimiser.text_model_lr=1"]
    assert train(data, out, *words) == 0
    shutil.rmtree(folder)
    run = load_run(out)
    assert isinstance(run.vocabulary, PieceVocabulary)
    assert run.info.config["text_model"] == str(folder)
    assert len(run.info.began_with["text_model"]["sha256"]) == 64
    kept = {name: tensor for name, tensor in run.model.state_dict().items() if "backbone" in name}
    name = "encoder.layer.0.output.dense.weight"
    same = torch.equal(kept[f"encode_words.backbone.{name}"], published[name])
    assert same == (training == "frozen")
    assert main(["score", str(out), "--data", str(data), "--split", "dev", "--out", str(tmp_path / "s.npy")]) == 0


def test_dotted_keys_say_the_same_as_the_option(data, text_model, tmp_path):
    assert train(data, tmp_path / "a", "--text-model", str(text_model)) == 0
    keys = ["--model.config.text_encoder=transformer", f"--model.config.text_model={text_model}"]
    assert train(data, tmp_path / "b", *keys) == 0
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_a_training_with_a_text_model_is_resumed_and_fine_tuned_from(data, text_model, tmp_path):
    out, tuned = tmp_path / "run", tmp_path / "tuned"
    assert train(data, out, "--text-model", str(text_model)) == 0
    before = (out / "model.safetensors").read_bytes()
    assert train(data, out, "--text-model", str(text_model), "--resume") == 0
    assert (out / "model.safetensors").read_bytes() == before
    keys = ["--model.config.text_encoder=transformer", "--model.config.text_training=fine-tuned"]
    assert train(data, tuned, "--init", str(out), *keys) == 0  # the text model's folder need not be named again
    run = load_run(tuned)
    assert run.info.config["text_training"] == "fine-tuned"
    assert run.vocabulary.fingerprint() == load_run(out).vocabulary.fingerprint()


def refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert train(data, tmp_path / "run", *words) == 2
    assert not (tmp_path / "run").exists()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crossgraph train: ")]
    assert len(lines) == 1
    return lines[0]


def test_what_does_not_go_together_is_one_line(data, text_model, vectors, tmp_path, capsys):
    text = ["--text-model", str(text_model)]
    assert "has word pieces of its own" in refused(data, tmp_path, capsys, *text, "--vocab", "words.json")
    assert "learns no word embeddings" in refused(data, tmp_path, capsys, *text, "--word-vectors", str(vectors))
    alone = "--model.config.text_encoder=transformer"
    assert "add --text-model FOLDER" in refused(data, tmp_path, capsys, alone)
    without = f"--model.config.text_model={text_model}"
    assert "add --model.config.text_encoder=transformer" in refused(data, tmp_path, capsys, without)
    assert "cannot be 'thawed'" in refused(data, tmp_path, capsys, *text, "--model.config.text_training=thawed")


def test_a_model_with_a_text_encoder_of_its_own_says_so():
    with pytest.raises(InputError, match="model 'other' has its own text encoder"):
        resolve_text_encoder(Recipe(ModelChoice("other", {"size": 3})), Path("bert"), None)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def of_other_sizes(folder: Path) -> None:
    save_text_model(folder / "other", PIECES, intermediate_size=8)
    shutil.copy(folder / "other" / "model.safetensors", folder / "model.safetensors")


def a_tower(folder: Path) -> None:
    shutil.rmtree(folder)
    save_tower(folder, "clip")


@pytest.mark.parametrize("spoil", [no_tokenizer, no_weights, of_other_sizes, a_tower, shutil.rmtree])
def test_a_folder_that_is_no_text_model_is_one_line(data, tmp_path, capsys, spoil):
    folder = tmp_path / "bert"
    save_text_model(folder, PIECES)
    spoil(folder)
    assert str(folder) in refused(data, tmp_path, capsys, "--text-model", str(folder))


def test_a_torn_vocabulary_of_pieces_is_one_line(data, text_model, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--text-model", str(text_model)) == 0
    path = tmp_path / "run" / "vocabulary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer": {}}))
    capsys.readouterr()
    line = ["score", str(tmp_path / "run"), "--data", str(data), "--split", "dev", "--out", str(tmp_path / "s.npy")]
    assert main(line) == 2
    assert str(path) in capsys.readouterr().err
