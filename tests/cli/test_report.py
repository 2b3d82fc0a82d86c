"""`crossgraph report`: a page, or one line for what a person can mend."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from references.tiny_run import write_tiny_run
from references.tiny_world import write_run, write_world

from crossgraph.cli.main import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("data") / "zoo")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "saf", "saf", data)


@pytest.fixture
def report(capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        code = main(["report", *map(str, words)])
        return code, *capfd.readouterr()

    return call


def refused(found: tuple[int, str, str], *parts: str) -> None:
    code, out, err = found
    assert code == 2, err
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("crossgraph report: ")
    assert "Traceback" not in err
    for part in parts:
        assert part in line


def test_a_run_knows_its_data_and_the_page_says_where_it_lies(report, run, tmp_path):
    code, out, err = report(run, "--out", tmp_path / "r.html")
    assert code == 0, err
    assert out.startswith(f"{tmp_path / 'r.html'} (")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert (tmp_path / "r.html").stat().st_size < 3_000_000


def test_scores_made_before_give_the_same_page(report, run, data, tmp_path, capfd):
    assert main(["score", str(run), "--data", str(data), "--out", str(tmp_path / "s.npy")]) == 0
    assert report(run, "--out", tmp_path / "a.html", "--scores", tmp_path / "s.npy")[0] == 0
    assert report(run, "--out", tmp_path / "b.html")[0] == 0
    kept = [(tmp_path / name).read_text().partition('<h3 id="origin">')[0] for name in ("a.html", "b.html")]
    kept = [re.sub(r'datetime="[^"]*"', "", part) for part in kept]
    assert kept[0] == kept[1]


def test_several_queries_may_be_given_at_once(report, run, tmp_path):
    asked = ["--query", "2", "--query", "pictures/4.png", "--query", "a dog in the snow", "--worst", "0"]
    assert report(run, "--out", tmp_path / "r.html", *asked)[0] == 0
    page = (tmp_path / "r.html").read_text()
    assert (page.count('class="query t2i"'), page.count('class="query i2t"')) == (2, 2)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--query", "19"], ("--query 19", "19 captions", "0 to 18")),
        (["--query", "-1"], ("--query -1", "0 to 18")),
        (["--query", "pictures/none.png"], ("--query pictures/none.png", "no such picture")),
        (["--query", "zebra quagga"], ("zebra quagga", "knows no word")),
        (["--query", ""], ("--query", "empty")),
        (["--worst", "-1"], ("--worst -1",)),
        (["--split", "dev"], ("dev", "test")),
        (["--data", "nowhere"], ("nowhere", "no such folder")),
        (["--features", "f"], ("--features f", "data")),
        (["--scores", "nowhere.npy"], ("nowhere.npy",)),
        (["--scores", "a.npy", "--scores", "b.npy"], ("2 score files for 1 run",)),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_no_page(report, run, tmp_path, words, parts):
    refused(report(run, "--out", tmp_path / "r.html", *words), *parts)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_take_the_page_is_told_before_any_work(report, run, tmp_path):
    (tmp_path / "folder.html").mkdir()
    refused(report(run, "--out", tmp_path / "folder.html"), "folder.html", "is a folder")
    refused(report(run, "--out", tmp_path / "missing" / "r.html"), "missing", "no such folder")
    refused(report(run, "--out", tmp_path / "r.pdf"), "r.pdf", ".html")
    refused(report(run, "--out", tmp_path), ".html")
    assert not (tmp_path / "missing").exists()


def test_what_is_no_run_or_lacks_its_parts_is_one_line(report, run, data, tmp_path):
    refused(report(data, "--out", tmp_path / "r.html"), str(data), "run.json")
    refused(report(run, tmp_path / "nothing", "--out", tmp_path / "r.html"), "nothing", "no such folder")
    bare = write_tiny_run(tmp_path / "bare")
    (bare / "vocabulary.json").unlink()
    refused(report(bare, "--data", data, "--out", tmp_path / "r.html"), "vocabulary.json")


def test_a_run_for_other_features_is_one_line(report, run, data, tmp_path):
    other = write_tiny_run(tmp_path / "other")
    info = json.loads((other / "run.json").read_text())
    info["inputs"]["regions"] = 4
    (other / "run.json").write_text(json.dumps(info))
    refused(report(run, other, "--data", data, "--out", tmp_path / "r.html"), "16 regions", "exactly 4")


def test_scores_of_another_run_are_refused(report, run, data, tmp_path, capfd):
    other = write_tiny_run(tmp_path / "other", "sgr")
    assert main(["score", str(other), "--data", str(data), "--out", str(tmp_path / "s.npy")]) == 0
    capfd.readouterr()
    refused(report(run, "--out", tmp_path / "r.html", "--scores", tmp_path / "s.npy"), "s.npy", "not made by")


def test_a_missing_package_is_one_line(report, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    refused(report(run, "--out", tmp_path / "r.html"), "jinja2", "pip install 'crossgraph[explain]'")


def test_an_older_page_stays_when_the_new_one_fails(report, run, tmp_path):
    (tmp_path / "r.html").write_text("older")
    refused(report(run, "--out", tmp_path / "r.html", "--query", "99"), "--query 99")
    assert (tmp_path / "r.html").read_text() == "older"
