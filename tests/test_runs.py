"""A run folder gives back what was saved, and says in one line what is wrong with it."""

from __future__ import annotations

import json
import shutil

import pytest

from crossgraph.cli.import_ import import_
from crossgraph.core.errors import InputError
from crossgraph.runs import load_run, read_info


@pytest.fixture(scope="module")
def run(goldens, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "sgr"
    vocabulary = goldens / "sgraf" / "dataset" / "vocab" / "tiny_precomp_vocab.json"
    import_("sgraf", goldens / "sgraf" / "sgr_bigru.pth", vocab=vocabulary, out=folder)
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def edit(path, **changes):
    values = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (values | changes).items() if v is not ...}))


def test_an_imported_run_knows_what_it_is(run):
    loaded = load_run(run)
    assert loaded.info.model == "sgr"
    assert loaded.info.inputs == {"feature_size": 64, "vocabulary_size": 50, "regions": 7}
    assert loaded.info.chosen_by["split"].startswith("unknown")
    assert not loaded.model.training
    assert len(loaded.vocabulary) == 50


@pytest.mark.parametrize("name", ["run.json", "model.safetensors", "vocabulary.json"])
def test_a_missing_or_truncated_file_is_named(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=name) as caught:
        load_run(copy)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(InputError, match=name):
        load_run(copy)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"format_version": 99}, "update crossgraph"),
        ({"format_version": None}, "make the run again"),
        ({"model": "sgrr"}, "did you mean 'sgr'"),
        ({"model": ...}, "incomplete"),
        ({"config": {"embed_sise": 3}}, "embed_size"),
        ({"inputs": {"feature_size": 64, "vocabulary_size": 51, "regions": 7}}, "50 entries where the model has 51"),
        ({"inputs": {"feature_size": 65, "vocabulary_size": 50, "regions": 7}}, "does not fit"),
    ],
)
def test_a_run_json_that_does_not_fit_is_one_line(copy, changes, words):
    edit(copy / "run.json", **changes)
    with pytest.raises(InputError, match=words) as caught:
        load_run(copy)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(InputError, match="no run"):
        read_info(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_info(tmp_path / "nothing")
