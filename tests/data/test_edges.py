"""Dependency edges lie beside the captions and are found by their text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from references.tiny_pairs import write_precomp

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.edges import FILE, read_dependencies, write_dependencies
from crossgraph.data.opening import read_sentences
from crossgraph.progress import ignore_progress


class Chain:
    """Each word depends on the one before it; stops after some sentences, as Ctrl-C does."""

    name = "chain 1"

    def __init__(self, most=10**9):
        self.left, self.asked = most, 0

    def parse(self, sentences):
        for sentence in sentences:
            if not self.left:
                raise KeyboardInterrupt
            self.left, self.asked = self.left - 1, self.asked + 1
            yield [(place, place + 1) for place in range(1, len(sentence.split()))]


@pytest.fixture
def data(tmp_path):
    return write_precomp(tmp_path / "tiny_precomp", {"train": 6, "dev": 4})


def test_every_split_gets_its_captions_edges_and_says_who_made_them(data):
    home, sentences = read_sentences(data)
    assert home == data and len(sentences) == 20
    assert open_data(data, log=str).split("dev").edges is None
    write_dependencies(home / FILE, sentences, Chain(), ignore_progress)
    split = open_data(data, log=str).split("dev")
    assert split.edges_by == "chain 1" and split.edges is not None
    assert list(split.edges[1]) == [(place, place + 1) for place in range(1, len(split.captions[1].split()))]
    assert len(split.edges) == len(split.captions)


def test_published_edges_win(data):
    write_dependencies(data / FILE, read_sentences(data)[1], Chain(), ignore_progress)
    (data / "dev_caps.json").write_text(json.dumps([[[0, 1], [1, 2]]] * 8))
    split = open_data(data, log=str).split("dev")
    assert split.edges_by == "published" and split.edges is not None and list(split.edges[0]) == [(1, 2)]


def test_a_folder_of_captions_is_read_without_its_features(tmp_path):
    (tmp_path / "captions.jsonl").write_text('{"image": "1.jpg", "captions": ["a dog", "a dog", "the cat"]}\n')
    home, sentences = read_sentences(tmp_path)
    assert home == tmp_path and sentences == ["a dog", "a dog", "the cat"]


def test_half_a_character_and_no_caption_are_refused(tmp_path):
    (tmp_path / "captions.jsonl").write_text('{"image": "1.jpg", "caption": "a \\ud800 dog"}\n')
    with pytest.raises(InputError, match="half a character"):
        read_sentences(tmp_path)
    (tmp_path / "captions.jsonl").write_text('{"image": "1.jpg", "caption": " "}\n')
    with pytest.raises(InputError, match="holds no caption"):
        read_sentences(tmp_path)


def test_a_caption_without_end_keeps_the_edges_of_its_beginning(tmp_path):
    write_dependencies(tmp_path / FILE, ["a " * 40_000], Chain(), ignore_progress)
    found = read_dependencies(tmp_path / FILE).of(["a " * 40_000])
    assert found is not None and list(found[0])[-1] == (32_766, 32_767)


def test_stopped_before_anything_was_parsed_nothing_is_written(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_dependencies(tmp_path / FILE, ["a dog"], Chain(0), ignore_progress)
    assert not (tmp_path / FILE).exists()


def test_what_was_stopped_goes_on_and_what_is_there_is_not_parsed_again(tmp_path):
    path, texts = tmp_path / FILE, [f"a {number} b" for number in range(9)]
    with pytest.raises(KeyboardInterrupt):
        write_dependencies(path, texts, Chain(4), ignore_progress)
    assert len(read_dependencies(path).rows) == 4
    rest = Chain()
    seen: list[tuple[int, int]] = []
    assert write_dependencies(path, [*texts, texts[0]], rest, lambda task, *counts: seen.append(counts)) == 5
    assert rest.asked == 5 and seen[0] == (4, 9) and seen[-1] == (9, 9)
    before = path.read_bytes()
    assert write_dependencies(path, texts, Chain(), ignore_progress) == 0 and path.read_bytes() == before


def test_captions_that_the_file_lacks_leave_it_out_with_a_note(data):
    sentences = read_sentences(data)[1]
    write_dependencies(data / FILE, [text for text in sentences if text != sentences[-1]], Chain(), ignore_progress)
    said: list[str] = []
    opened = open_data(data, log=said.append)
    assert opened.split("dev").edges is not None and opened.split("train").edges is None
    assert any("lacks captions of 'train'" in line and "crossgraph parse" in line for line in said)


def test_another_parser_s_file_is_not_mixed_with_ours(tmp_path):
    write_dependencies(tmp_path / FILE, ["a dog"], Chain(), ignore_progress)
    other = Chain()
    other.name = "chain 2"
    with pytest.raises(InputError, match="was made by 'chain 1', not by 'chain 2'"):
        write_dependencies(tmp_path / FILE, ["a cat"], other, ignore_progress)


HEAD = '{"format_version": 1, "parser": "x 1"}\n'


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1"),
        ("[]\n", "line 1"),
        ('{"format_version": 2, "parser": "x"}\n', "format version 2"),
        (f"{HEAD}{{}}\n", "line 2"),
        (f'{HEAD}{{"caption": "a", "edges": []}}\n{{"caption": "b", "edges": [[1]]}}\n', "line 3"),
        (f'{HEAD}{{"caption": "a", "edges": [[-1, 2]]}}\n', "negative position"),
        (f'{HEAD}{{"caption": "a", "edges": [[1, 99999]]}}\n', "line 2"),
        (f'{HEAD}{{"caption": "a", "edges": [["x", 1]]}}\n', "line 2"),
        (f'{HEAD}{{"caption": "a", "edg', "line 2"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=message):
        read_dependencies(tmp_path / FILE)


def test_edges_of_some_captions_are_those_captions_own(tmp_path):
    write_dependencies(tmp_path / FILE, ["a b c", "d", "e f"], Chain(), ignore_progress)
    read = read_dependencies(tmp_path / FILE)
    found = read.of(["e f", "a b c", "d", "e f"])
    assert found is not None and [list(edges) for edges in found] == [[(1, 2)], [(1, 2), (2, 3)], [], [(1, 2)]]
    assert read.of(["a b c", "g"]) is None and len(read.of([]) or np.zeros(0)) == 0
