"""`crossgraph parse`, and what becomes of its edges: in training, on the card, and for sentences typed later."""

from __future__ import annotations

import json

import pytest
from references.tiny_pairs import write_precomp

from crossgraph.cli.main import main
from crossgraph.data.edges import FILE
from crossgraph.runs import load_run
from crossgraph.text import dependencies

CONFIG = ["--model.name=cgmn", "--model.config={embed_size: 8, word_size: 6}", "--max_steps=1", "--batch=4"]


class Chain:
    name = "spacy chain 1"

    def parse(self, sentences):
        for sentence in sentences:
            yield [(place, place + 1) for place in range(1, len(sentence.split()))]


@pytest.fixture
def data(tmp_path):
    return write_precomp(tmp_path / "tiny_precomp", {"train": 8, "dev": 4, "test": 4})


@pytest.fixture
def parser(monkeypatch):
    monkeypatch.setattr(dependencies, "find_parser", lambda package=None: Chain())
    monkeypatch.setattr(dependencies, "installed_parsers", lambda: ["chain"])


def train_and_evaluate(data, run):
    given = ["--data", str(data), "--device", "cpu"]
    assert main(["train", "cgmn-scenes", "--small", *given, "--out", str(run), *CONFIG]) == 0
    assert main(["evaluate", str(run), *given]) == 0
    return json.loads((run / "card.json").read_text())


def test_a_folder_that_cannot_be_parsed_is_one_line(tmp_path, parser, capsys):
    assert main(["parse", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["parse", str(tmp_path)]) == 2
    assert not (tmp_path / FILE).exists()


def test_without_a_parser_the_extra_is_named(data, monkeypatch, capsys):
    monkeypatch.setattr(dependencies, "installed_parsers", list)
    assert main(["parse", str(data)]) == 2
    assert capsys.readouterr().err.rstrip().endswith("pip install 'crossgraph[parser]'")


def test_edges_go_into_the_training_onto_the_card_and_to_later_sentences(data, tmp_path, parser, capsys):
    assert main(["parse", str(data)]) == 0
    assert "32 captions" in capsys.readouterr().out and (data / FILE).exists()
    card = train_and_evaluate(data, tmp_path / "run")
    assert card["data"]["edges_by"] == "spacy chain 1"
    assert card["models"]["entries"][0]["word_edges"] == {"trained_with": "spacy chain 1", "sentences": "spacy chain 1"}
    assert any("dependency edges (spacy chain 1)" in note for note in card["notes"])
    parse = load_run(tmp_path / "run").vocabulary.encode("a thing1 thing2").parse
    assert parse is not None and parse() == [(1, 2), (2, 3)]


def test_where_the_parser_is_gone_sentences_take_the_fall_back(data, tmp_path, parser, monkeypatch):
    assert main(["parse", str(data)]) == 0
    train_and_evaluate(data, tmp_path / "run")
    monkeypatch.setattr(dependencies, "installed_parsers", list)
    assert load_run(tmp_path / "run").vocabulary.encode("a thing1").parse is None


def test_without_edges_the_card_says_fall_back_and_nothing_is_parsed(data, tmp_path, parser):
    card = train_and_evaluate(data, tmp_path / "run")
    assert card["data"]["edges_by"] == ""
    assert any("trained with its config's fall-back" in note for note in card["notes"])
    assert load_run(tmp_path / "run").vocabulary.parser is None


@pytest.mark.slow
def test_a_sentence_is_parsed_as_the_captions_were_by_a_real_parser(data, tmp_path, capsys):
    pytest.importorskip("spacy")
    assert main(["parse", str(data)]) == 0
    card = train_and_evaluate(data, tmp_path / "run")
    assert card["data"]["edges_by"].startswith("spacy en_core_web")
    parse = load_run(tmp_path / "run").vocabulary.encode("a red thing1").parse
    assert parse is not None and sorted(dependent for _, dependent in parse()) == [1, 2]
    assert main(["parse", str(data)]) == 0
    assert "nothing to do" in capsys.readouterr().out
