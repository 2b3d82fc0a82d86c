"""`crossgraph bench`: a table, a plot and numbers to keep; sizes small here, nothing is said of speed."""

from __future__ import annotations

import json

import pytest

from crossgraph.cli.main import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


SMALL = ["--images", "3", "--captions", "4", "--words", "3", "--regions", "2", "--rounds", "1"]


def test_it_prints_ratios_and_keeps_numbers_and_a_plot(tmp_path, capfd):
    assert main(["bench", "saf", "vsepp", *SMALL, "--out", str(tmp_path / "out")]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("| model | plain, pairs/s |")
    assert lines[2].startswith("| saf |")
    assert lines[3].startswith("| vsepp |")
    kept = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [one["model"] for one in kept["models"]] == ["saf", "vsepp"]
    assert kept["models"][0]["plain"].startswith("as published")
    assert kept["models"][0]["ratio"]["float32"] > 0
    assert 0 < kept["models"][0]["drift"] < 0.01
    assert (tmp_path / "out" / "bench.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "cache" / "crossgraph" / "scoring.json").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["sgrr"], "sgr"),
        (["--words", "1"], "words is 1"),
        (["--rounds", "0"], "rounds is 0"),
        (["--images", "-3"], "images is -3"),
    ],
)
def test_a_wrong_word_is_one_line(words, part, capfd):
    assert main(["bench", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert part in err.splitlines()[-1]
    assert "Traceback" not in err
