"""`crossgraph bundle`: from a run to what search needs, and back from its folder."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from references.tiny_run import write_tiny_run

from crossgraph.bundle import load_bundle
from crossgraph.cli.main import main
from crossgraph.core.errors import InputError
from crossgraph.core.types import Regions
from crossgraph.pipeline import alignment_of


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    run = write_tiny_run(folder / "run")
    out = folder / "bundle"
    words = ["bundle", run, "--data", data, "--out", out, "--index-size", "16", "--max-steps", "6"]
    assert main([str(word) for word in words]) == 0
    return out


def test_a_bundle_gives_unit_vectors_and_the_rerankers_scores(made):
    bundle = load_bundle(made)
    assert bundle.kind == "two-stage" and bundle.index_size == 16 and bundle.region_encoder == "tiny"
    regions = Regions(torch.randn(3, 4, 6), torch.ones(3, 4, dtype=torch.bool))
    pictures, text = bundle.encode_pictures(regions), bundle.encode_text("a red dog zzz")
    np.testing.assert_allclose(np.linalg.norm(pictures.index, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(text.index) == pytest.approx(1, abs=1e-5) and text.unknown == ("zzz",)
    scores = bundle.score(text.code, pictures.code)
    for row in range(3):
        alone = alignment_of(bundle.reranker, regions.select(slice(row, row + 1)), "a red dog zzz")
        assert scores[row] == pytest.approx(alone.score, abs=1e-5)
        found = bundle.align(text.code, pictures.code.select(slice(row, row + 1)))
        np.testing.assert_allclose(found.weights.numpy(), alone.weights, atol=1e-5)
    p = bundle.probability(scores)
    assert ((p >= 0) & (p <= 1)).all()


def test_the_reliability_plot_lies_beside_it(made):
    plot = (made / "reliability.svg").read_text()
    pairs = json.loads((made / "bundle.json").read_text())["calibration"]["pairs"]
    assert f"Reliability of {made.name}" in plot and f"{pairs:,} short-list pairs" in plot


def test_the_same_again_is_the_same_bundle(made, data, tmp_path):
    words = ["bundle", made.parent / "run", "--data", data, "--out", tmp_path / "again", "--index-size", "16"]
    assert main([str(word) for word in [*words, "--max-steps", "6"]]) == 0
    assert load_bundle(tmp_path / "again").fingerprint == load_bundle(made).fingerprint


def test_the_pipeline_takes_a_bundle_by_its_reranker(made):
    import crossgraph as cg

    assert cg.load(made).run.path == made / "reranker"


def test_a_bare_run_serves_as_a_bundle(made):
    bundle = load_bundle(made.parent / "run")
    assert (
        bundle.kind == "two-stage"
        and bundle.calibration is None
        and bundle.probability(np.zeros(2, np.float32)) is None
    )
    assert bundle.index_size == 8 and bundle.short_list_size(500) == 500 and bundle.short_list_size(10**6) == 2000
    assert "not trained for this" in bundle.index_by


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda b: (b / "head.safetensors").unlink(), "no such file"),
        (lambda b: (b / "head.safetensors").write_bytes(b"x"), "not the file"),
        (lambda b: (b / "bundle.json").write_text("{"), "JSON"),
        (lambda b: (b / "bundle.json").write_text('{"format_version": 9}'), "update crossgraph"),
        (lambda b: (b / "bundle.json").write_text('{"format_version": 1}'), "incomplete"),
        (lambda b: shutil.rmtree(b / "reranker"), "no such folder"),
        (lambda b: (b / "bundle.json").unlink(), "neither bundle.json nor run.json"),
    ],
)
def test_a_bundle_that_was_spoilt_is_refused(made, tmp_path, spoil, said):
    copy = Path(shutil.copytree(made, tmp_path / "bundle"))
    spoil(copy)
    with pytest.raises(InputError, match=said):
        load_bundle(copy)


def test_what_chose_it_is_written_down(made):
    about = json.loads((made / "bundle.json").read_text())
    assert set(about["made"]["data"]) == {"train", "dev"} and about["made"]["chosen"]["steps"] == 4
    assert about["calibration"]["gallery"] == about["short_list"]["gallery"] == 16
    assert about["short_list"]["queries"] == 80


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": "{tmp}/none"}, "no such folder"),
        ({"--data": "{tmp}"}, "is empty"),
        ({"--retriever": "{run}"}, "interaction model"),
        ({"--index-size": "1"}, "from 2 to 65,536"),
        ({"--index-size": "999999999999"}, "from 2 to 65,536"),
        ({"--seed": "-1"}, "seed is -1"),
        ({"--lr": "0"}, "above 0"),
        ({"run": "{bundle}"}, "is a bundle, and a run is wanted"),
        ({"--out": "{data}"}, "holds other files"),
    ],
)
def test_what_cannot_be_made_is_one_line(made, data, tmp_path, capfd, changes, said):
    run = made.parent / "run"
    options = {"run": str(run), "--data": str(data), "--out": str(tmp_path / "out")}
    options |= {key: value.format(tmp=tmp_path, run=run, data=data, bundle=made) for key, value in changes.items()}
    assert main(["bundle", options.pop("run"), *(word for pair in options.items() for word in pair)]) == 2
    assert said in capfd.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "full", "model.safetensors"), KeyboardInterrupt()])
def test_a_bundle_that_cannot_be_finished_leaves_what_was_there(made, data, tmp_path, capfd, monkeypatch, stop):
    def stopping(*_: object) -> None:
        raise stop

    copy = Path(shutil.copytree(made, tmp_path / "bundle"))
    monkeypatch.setattr("crossgraph.bundle.folder.write_json", stopping)
    for out in (copy, tmp_path / "new"):
        words = ["bundle", made.parent / "run", "--data", data, "--out", out, "--index-size", "8", "--max-steps", "1"]
        assert main([str(word) for word in words]) == (2 if isinstance(stop, OSError) else 130)
        assert "Traceback" not in capfd.readouterr().err
    assert not (tmp_path / "new").exists()
    assert load_bundle(copy).fingerprint == load_bundle(made).fingerprint
    assert sorted(path.name for path in copy.iterdir()) == sorted(path.name for path in made.iterdir())


def test_a_bundle_made_over_another_leaves_nothing_of_it(made, data, tmp_path):
    copy = Path(shutil.copytree(made, tmp_path / "bundle"))
    shutil.copytree(copy / "reranker", copy / "retriever")
    words = ["bundle", copy / "reranker", "--data", data, "--out", copy, "--index-size", "8", "--max-steps", "1"]
    assert main([str(word) for word in words]) == 0
    assert load_bundle(copy).index_size == 8
    assert sorted(path.name for path in copy.iterdir()) == sorted(path.name for path in made.iterdir())


def test_data_without_a_dev_split_is_refused(made, data, tmp_path, capfd):
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    for path in copy.glob("dev_*"):
        path.unlink()
    words = ["bundle", made.parent / "run", "--data", copy, "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 2
    assert "has no split 'dev'" in capfd.readouterr().err
