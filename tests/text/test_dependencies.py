"""An installed parser tells which words depend on which, by the positions that a model counts them with."""

from __future__ import annotations

import pickle

import pytest

from crossgraph.core.errors import InputError
from crossgraph.text import dependencies
from crossgraph.text.dependencies import PUBLISHED, find_parser, installed_parsers, parser_named
from crossgraph.text.packing import collate
from crossgraph.text.vocabulary import Vocabulary

SENTENCE = "Two black dogs run through the tall grass."


class Neighbours:
    """Each word depends on the one before it."""

    name = "neighbours 1"

    def __init__(self):
        self.asked: list[str] = []

    def parse(self, sentences):
        for sentence in sentences:
            self.asked.append(sentence)
            yield [(place, place + 1) for place in range(1, len(sentence.split()))]


@pytest.fixture
def vocabulary():
    return Vocabulary(["<pad>", "<start>", "<end>", "<unk>", "a", "dog", "runs", "."])


def test_a_vocabulary_with_a_parser_gives_every_caption_its_edges(vocabulary):
    plain = [vocabulary.encode(caption) for caption in ("a dog runs", "a dog")]
    assert collate(plain).edges is None
    vocabulary.parser = Neighbours()
    tokens = collate([vocabulary.encode(caption) for caption in ("a dog runs", "a dog")])
    assert tokens.edges is not None and tokens.edges.tolist() == [[[1, 2], [2, 3]], [[1, 2], [-1, -1]]]


def test_edges_that_are_given_win_and_nothing_is_parsed(vocabulary):
    vocabulary.parser = parser = Neighbours()
    tokens = collate([vocabulary.encode("a dog said")], [[(2, 1)]])
    assert tokens.edges is not None and tokens.edges.tolist() == [[[2, 1]]]
    assert not parser.asked


def test_without_a_parser_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert installed_parsers() == [] and parser_named(PUBLISHED) is None
    with pytest.raises(InputError) as refused:
        find_parser()
    assert refused.value.remedy == "pip install 'crossgraph[parser]'"


def test_only_packages_that_announce_themselves_as_parsers_are_loaded(monkeypatch):
    monkeypatch.setattr(dependencies, "installed_parsers", lambda: ["en_core_web_sm"])
    assert parser_named("spacy os 1.0") is None and parser_named("") is None and parser_named("nonsense") is None
    with pytest.raises(InputError, match="no parser 'en_core_web_smm' is installed"):
        find_parser("en_core_web_smm")


@pytest.mark.slow
def test_the_installed_parser_finds_what_belongs_together():
    pytest.importorskip("spacy")
    parser = find_parser()
    edges, nothing, alone = parser.parse([SENTENCE, "", "dogs"])
    words = ["<start>", "Two", "black", "dogs", "run", "through", "the", "tall", "grass", "."]
    found = {(words[head], words[dependent]) for head, dependent in edges}
    assert {("dogs", "black"), ("run", "dogs"), ("grass", "tall")} <= found
    assert len(edges) == len(words) - 2, "every word but the root has one head; <start> takes no part"
    assert nothing == [] and alone == []
    named = parser_named(parser.name)
    assert named is not None and named.package == parser.package
    assert list(pickle.loads(pickle.dumps(parser)).parse([SENTENCE])) == [edges]
