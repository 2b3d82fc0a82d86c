"""`crossgraph import` as it is typed."""

from __future__ import annotations

import json
import pickle

import pytest

from crossgraph.cli.main import main


@pytest.fixture
def files(goldens):
    folder = goldens / "sgraf"
    return folder, folder / "dataset" / "vocab" / "tiny_precomp_vocab.json"


@pytest.mark.parametrize(
    "name", ["sgr_bigru.pth", "saf_bigru.pth", "sgr_gru.pth", "saf_gru.pth", "sgr_bigru_namespace_legacy.pth.tar"]
)
def test_every_published_form_becomes_a_run(files, tmp_path, capsys, name):
    folder, vocabulary = files
    run = tmp_path / "run"
    assert main(["import", "sgraf", str(folder / name), "--vocab", str(vocabulary), "--out", str(run)]) == 0
    assert f"7 regions × 64, 50 words -> {run}" in capsys.readouterr().out
    info = json.loads((run / "run.json").read_text())
    assert info["origin"] == name
    assert info["config"]["text_direction"] == ("both" if "bigru" in name else "forward")


@pytest.mark.parametrize(
    "family, name", [("cgmn", "cgmn_iou1"), ("vsepp", "vsepp"), ("vsrn", "vsrn_f30k"), ("vsrn", "vsrn_coco")]
)
def test_independent_models_come_with_json_or_their_pickled_vocabulary(goldens, files, tmp_path, capsys, family, name):
    values = json.loads(files[1].read_text())
    pickled = tmp_path / "vocab.pkl"
    pickled.write_bytes(pickle.dumps({**values, "idx2word": {int(k): v for k, v in values["idx2word"].items()}}, 2))
    for vocabulary in (files[1], pickled):
        run = tmp_path / vocabulary.stem
        checkpoint = str(goldens / family / f"{name}.pth")
        assert main(["import", family, checkpoint, "--vocab", str(vocabulary), "--out", str(run)]) == 0
        assert f"any number of regions × 64, 50 words -> {run}" in capsys.readouterr().out
        assert json.loads((run / "run.json").read_text())["model"] == family
        assert json.loads((run / "vocabulary.json").read_text())["word2idx"] == values["word2idx"]


def test_the_row_that_gpo_s_authors_add_to_the_vocabulary_is_named(goldens, files, tmp_path, capsys):
    values = json.loads(files[1].read_text())
    words = {word: row for word, row in values["word2idx"].items() if row < 49}
    short = tmp_path / "short.json"
    rows = {str(row): word for word, row in words.items()}
    short.write_text(json.dumps({"word2idx": words, "idx2word": rows, "idx": 49}))
    checkpoint, run = str(goldens / "gpo" / "gpo_bigru.pth"), tmp_path / "run"
    assert main(["import", "gpo", checkpoint, "--vocab", str(short), "--out", str(run)]) == 0
    assert "50 words" in capsys.readouterr().out
    assert json.loads((run / "vocabulary.json").read_text())["word2idx"]["<mask>"] == 49
    assert main(["import", "gpo", checkpoint, "--vocab", str(files[1]), "--out", str(tmp_path / "whole")]) == 0


def test_a_pickle_that_would_run_something_is_refused(goldens, tmp_path, capsys):
    vocabulary = tmp_path / "vocab.pkl"
    vocabulary.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    checkpoint, run = str(goldens / "cgmn" / "cgmn_iou1.pth"), tmp_path / "run"
    assert main(["import", "cgmn", checkpoint, "--vocab", str(vocabulary), "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert "vocab.pkl: refused, it asks for os.system" in error
    assert error.count("\n") == 1
    assert not run.exists()


def test_what_cannot_be_imported_is_one_line_exit_2_and_leaves_nothing(files, tmp_path, capsys):
    folder, vocabulary = files
    short = tmp_path / "short.json"
    values = json.loads(vocabulary.read_text())
    words = {word: row for word, row in values["word2idx"].items() if row < 40}
    rows = {str(row): word for word, row in words.items()}
    short.write_text(json.dumps({"word2idx": words, "idx2word": rows, "idx": 40}))
    good = folder / "sgr_bigru.pth"
    for model, checkpoint, vocab, words in [
        ("sgraff", good, vocabulary, "did you mean 'sgraf'"),
        ("sgraf", tmp_path / "nothing.pth", vocabulary, "nothing.pth: no such file"),
        ("sgraf", vocabulary, vocabulary, "tiny_precomp_vocab.json"),
        ("sgraf", good, good, "sgr_bigru.pth"),
        ("sgraf", good, short, "40 entries"),
        ("sgraf", good, tmp_path / "nothing.json", "nothing.json: no such file"),
    ]:
        out = tmp_path / "run"
        assert main(["import", model, str(checkpoint), "--vocab", str(vocab), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("crossgraph import: ")
        assert error.count("\n") == 1
        assert words in error
        assert not out.exists()


def test_a_run_is_not_overwritten(files, tmp_path, capsys):
    folder, vocabulary = files
    command = ["import", "sgraf", str(folder / "sgr_bigru.pth"), "--vocab", str(vocabulary), "--out", str(tmp_path)]
    assert main(command) == 0
    assert main(command) == 2
    assert "already holds a run" in capsys.readouterr().err
