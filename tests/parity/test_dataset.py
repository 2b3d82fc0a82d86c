"""From the authors' files on disk to their figures, typed as a person would: import, score, evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossgraph.cli.main import main
from crossgraph.scoring.recall import ranks


@pytest.fixture(scope="module")
def folder(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both published models, imported and scored on the tiny data set."""
    place, data = tmp_path_factory.mktemp("published"), goldens / "sgraf" / "dataset"
    vocabulary = data / "vocab" / "tiny_precomp_vocab.json"
    for name in ("sgr", "saf"):
        checkpoint = goldens / "sgraf" / f"{name}_bigru.pth"
        typed("import", "sgraf", checkpoint, "--vocab", vocabulary, "--out", place / name)
        typed("score", place / name, "--data", data / "tiny_precomp", "--split", "test", "--out", place / f"{name}.npy")
    return place


@pytest.fixture(scope="module")
def expected(goldens: Path) -> dict[str, np.ndarray]:
    with np.load(goldens / "sgraf" / "dataset" / "expected.npz") as file:
        return {name: file[name] for name in file}


def typed(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def agrees(folder: Path, expected: dict[str, np.ndarray], name: str, scores: np.ndarray) -> None:
    """Compare a card with the authors' figures.

    Two captions of the data are the same, so a rank is tied, and the authors' mean rank depends on how
    their sort ordered it: it must lie between all ties won and all lost. The rest must be equal.
    """
    found = json.loads((folder / "card.json").read_text())["results"]["whole"]["figures"]
    for direction, ranked in zip(("i2t", "t2i"), ranks(scores, np.arange(75) // 5), strict=True):
        *others, mean_rank = expected[f"{name}.{direction}"].tolist()
        assert [found[f"{direction} {figure}"] for figure in ("R@1", "R@5", "R@10", "medR")] == pytest.approx(others)
        assert ranked.tied.sum() <= 1
        for mean in (mean_rank, found[f"{direction} meanR"]):
            assert ranked.above.mean() + 1 - 1e-9 <= mean <= ranked.rank("worst").mean() + 1 + 1e-9


@pytest.mark.parametrize("name", ["sgr", "saf"])
def test_scores_are_the_authors_to_1e_5(folder, expected, name):
    scores = np.load(folder / f"{name}.npy")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected[f"{name.upper()}.sims"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["sgr", "saf"])
def test_a_run_gets_the_authors_figures(folder, expected, goldens, name):
    typed("evaluate", folder / name, "--data", goldens / "sgraf" / "dataset" / "tiny_precomp")
    agrees(folder / name, expected, name.upper(), expected[f"{name.upper()}.sims"])


@pytest.mark.parametrize("given", ["runs", "scores"])
def test_the_ensemble_gets_the_authors_figures(folder, expected, goldens, tmp_path, given):
    score_files = ["--scores", folder / "sgr.npy", "--scores", folder / "saf.npy"]
    members = [folder / "sgr", folder / "saf"] if given == "runs" else score_files
    data = goldens / "sgraf" / "dataset" / "tiny_precomp"
    typed("evaluate", *members, "--data", data, "--split", "test", "--out", tmp_path)
    agrees(tmp_path, expected, "ensemble", (expected["SGR.sims"] + expected["SAF.sims"]) / 2)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["models"]["count"] == 2
    assert card["title"] == "sgr + saf (ensemble of 2)"
