"""Relations between regions are read from a file beside the captions, and reach the model with the features."""

from __future__ import annotations

import json

import numpy as np
import pytest
from references.tiny_pairs import REGIONS, write_precomp

from crossgraph.cli.main import main
from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.relations import EXTRA, FILE, read_relations
from crossgraph.data.subset import first_images

HEAD = '{"format_version": 1, "predicates": ["on", "under"]}\n'


def write(folder, *lines, head=HEAD):
    text = head + "".join(json.dumps({"image": image, "relations": found}) + "\n" for image, found in lines)
    (folder / FILE).write_text(text)


@pytest.fixture
def data(tmp_path):
    return write_precomp(tmp_path / "tiny_precomp", {"train": 8, "dev": 4, "test": 4})


def test_pictures_bring_their_relations_along(data):
    plain = open_data(data, log=str).split("dev")
    write(data, ("2", [[0, "under", 3], [0, "on", 1], [5, "on", 0]]), ("1", [[4, "on", 2]]))
    split = open_data(data, log=str).split("dev")
    for source in (split.features, first_images(split, 3).features):
        regions = source.read(np.array([1, 2, 0]))
        listed = regions.extra[EXTRA]
        assert listed.shape == (3, REGIONS, 2, 2)
        assert listed[1, 0].tolist() == [[3, 2], [1, 1]] and listed[1, 5, 0].tolist() == [0, 1]
        assert listed[0, 4, 0].tolist() == [2, 1] and bool((listed[2] == -1).all())
    np.testing.assert_array_equal(regions.features, plain.features.read(np.array([1, 2, 0])).features)
    assert split.fingerprint() != plain.fingerprint()


def test_a_region_that_no_picture_has_is_named(data):
    write(data, ("2", [[0, "on", REGIONS]]))
    with pytest.raises(InputError, match=f"a relation of '2' names region {REGIONS}, the features have {REGIONS}"):
        open_data(data, log=str).split("dev")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1"),
        ('{"format_version": 3, "predicates": []}\n', "format version 3"),
        (HEAD + '{"image": "1"}\n', "line 2"),
        (HEAD + '{"image": "1", "relations": [[0, "beside", 1]]}\n', "'beside' is not among"),
        (HEAD + '{"image": "1", "relations": [[0, "on", -1]]}\n', "whole numbers from 0"),
        (HEAD + '{"image": "1", "relations": [[0, "on"]]}\n', "line 2"),
        (HEAD + '{"image": "1", "rela', "line 2"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=message):
        read_relations(tmp_path / FILE)


@pytest.mark.slow
def test_sgm_trains_and_is_evaluated_on_graphs_from_files(data, tmp_path, capsys):
    write(data, *[(str(row), [[0, "on", 1], [1, "under", 2]]) for row in range(8)])
    given = ["--data", str(data), "--device", "cpu"]
    out = str(tmp_path / "run")
    assert main(["train", "sgm-scenes", "--small", *given, "--out", out]) == 0
    assert main(["evaluate", out, *given]) == 0
    assert "rSum" in capsys.readouterr().out
