"""`crossgraph compare`: two of anything that answered the same queries, or one line that says why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossgraph.cli.main import main


@pytest.fixture
def data(goldens: Path) -> Path:
    return goldens / "sgraf" / "dataset" / "tiny_precomp"


@pytest.fixture(scope="module")
def runs(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, dataset = tmp_path_factory.mktemp("compare"), goldens / "sgraf" / "dataset"
    found: dict[str, Path] = {}
    for head in ("sgr", "saf"):
        found[head] = folder / head
        words = ["import", "sgraf", goldens / "sgraf" / f"{head}_bigru.pth", "--out", found[head]]
        words += ["--vocab", dataset / "vocab" / "tiny_precomp_vocab.json"]
        assert main([str(word) for word in words]) == 0
    return found


@pytest.fixture
def matrices(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.npy" for name in "ab"]
    for seed, path in enumerate(paths):
        np.save(path, np.random.default_rng(seed).standard_normal((15, 75)).astype(np.float32))
    return paths


@pytest.fixture
def compare(capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["compare", *map(str, words)])
        return code, *capfd.readouterr()

    return call


def refused(found: tuple[int, str, str], *parts: str) -> None:
    code, out, err = found
    assert code == 2, err
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("crossgraph compare: ")
    assert "Traceback" not in err
    for part in parts:
        assert part in line, line


def test_two_runs_are_scored_and_compared(compare, runs, data):
    code, out, _ = compare(runs["sgr"], runs["saf"], "--data", data, "--queries", 2)
    assert code == 0
    assert f"# A: {runs['sgr']}, B: {runs['saf']}" in out
    assert "15 i2t and 75 t2i queries of 15 images" in out
    assert sum(line.startswith("| i2t ") or line.startswith("| t2i ") for line in out.splitlines()) == 10


def test_a_run_against_its_own_scores_and_details_is_equal(compare, runs, data, tmp_path):
    scores, details = tmp_path / "s.npy", tmp_path / "details"
    assert main(["score", str(runs["sgr"]), "--data", str(data), "--out", str(scores)]) == 0
    assert main(["evaluate", "--scores", str(scores), "--data", str(data), "--details", str(details)]) == 0
    for other in (scores, details, details / "details.jsonl"):
        code, out, _ = compare(runs["sgr"], other, "--data", data, "--json")
        assert code == 0
        found = json.loads(out)
        assert {one["verdict"] for one in found["differences"].values()} == {"equal"}
        assert found["changed"] == []


def test_details_need_no_data(compare, matrices, data, tmp_path):
    for name, matrix in zip("ab", matrices, strict=True):
        main(["evaluate", "--scores", str(matrix), "--data", str(data), "--details", str(tmp_path / name)])
    code, out, _ = compare(tmp_path / "a", tmp_path / "b", "--json")
    assert code == 0
    assert json.loads(compare(*matrices, "--data", data, "--json")[1])["differences"] == json.loads(out)["differences"]


def test_the_table_is_kept_where_out_says(compare, matrices, data, tmp_path):
    code, out, _ = compare(*matrices, "--data", data, "--out", tmp_path / "new" / "c.md")
    assert code == 0
    assert (tmp_path / "new" / "c.md").read_text() == out


def test_what_cannot_be_compared_is_one_line(compare, matrices, runs, data, tmp_path):
    (tmp_path / "file.md").mkdir()
    (tmp_path / "notes.txt").write_text("")
    np.save(tmp_path / "small.npy", np.zeros((15, 70), np.float32))
    np.save(tmp_path / "nan.npy", np.full((15, 75), np.nan, np.float32))
    a, b = matrices
    refused(compare(a, b), "a.npy", "--data is required")
    refused(compare(runs["sgr"], b), "--data is required")
    refused(compare(a), "B is required")
    refused(compare(a, tmp_path / "none", "--data", data), "none", "no such file or folder")
    refused(compare(a, tmp_path / "notes.txt", "--data", data), "notes.txt")
    refused(compare(a, tmp_path, "--data", data), "neither a run nor a folder of details")
    refused(compare(a, tmp_path / "small.npy", "--data", data), "15 × 70", "75 captions")
    refused(compare(a, tmp_path / "nan.npy", "--data", data), "nan.npy", "NaN")
    refused(compare(a, b, "--data", data, "--split", "dev"), "no split 'dev'")
    refused(compare(a, b, "--data", data, "--queries", -1), "--queries -1")
    refused(compare(a, b, "--data", data, "--dev-limit", 0), "--dev-limit 0")
    refused(compare(a, b, "--data", data, "--out", tmp_path / "c.txt"), "must end in .md")
    refused(compare(a, b, "--data", data, "--out", tmp_path / "file.md"), "is a folder")


def test_details_of_other_data_are_refused(compare, matrices, data, tmp_path):
    other = Path(shutil.copytree(data, tmp_path / "other"))
    (other / "test_caps.txt").write_text("".join(f"caption {number}\n" for number in range(75)))
    main(["evaluate", "--scores", str(matrices[0]), "--data", str(other), "--details", str(tmp_path / "d")])
    refused(compare(matrices[0], tmp_path / "d", "--data", data), "different t2i queries: number 1", "caption 0")
