"""`crossgraph figure`: right and wrong pairs of a split on one sheet, with or without the pictures' files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import references.tiny_regions  # noqa: F401 registers the region encoder
from PIL import Image
from references.tiny_run import write_tiny_run

from crossgraph.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("figure") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    lines: list[str] = []
    for number, words in enumerate(["a red dog runs", "a green cat", "the snow over the grass"]):
        pixels = random.integers(0, 255, (24, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")
        lines.append(json.dumps({"image": f"pictures/{number}.png", "captions": [words, words], "split": "test"}))
    (folder / "captions.jsonl").write_text("\n".join(lines))
    assert main(["extract", str(folder / "pictures"), "--out", str(folder / "features"), "--encoder", "tiny"]) == 0
    return folder


@pytest.fixture
def figure(capfd: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, str, str]:
        code = main(["figure", *map(str, words)])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


def test_a_figure_of_chosen_captions(figure, run, data, tmp_path):
    code, out, err = figure(run, "--data", data, "--query", 0, "--query", 3, "--out", tmp_path / "pairs.png")
    assert code == 0, err
    assert [line.split(":")[0] for line in out.splitlines()] == ["caption 0", "caption 3", "figure"]
    assert "of 3: a red dog runs" in out
    with Image.open(tmp_path / "pairs.png") as drawn:
        assert drawn.width >= 1200
        assert drawn.height > drawn.width / 2


def test_pictures_that_are_gone_leave_their_names(figure, run, data, tmp_path):
    gone = data.parent / "gone"
    data.rename(gone)
    try:
        for path in (gone / "pictures").iterdir():
            path.rename(path.with_suffix(".hidden"))
        code, _, err = figure(run, "--data", gone, "--captions", 1, "--theme", "dark", "--out", tmp_path / "pairs.png")
        assert code == 0, err
        assert (tmp_path / "pairs.png").stat().st_size > 10_000
    finally:
        for path in (gone / "pictures").iterdir():
            path.rename(path.with_suffix(".png"))
        gone.rename(data)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--query", 6], ("--query 6", "6 captions", "0 to 5")),
        (["--query", -1], ("--query -1",)),
        (["--captions", 0], ("--captions 0", "1 to 12")),
        (["--captions", 13], ("--captions 13",)),
        (["--split", "dev"], ("no split 'dev'",)),
    ],
)
def test_what_is_not_there_is_one_line(figure, run, data, tmp_path, words, parts):
    code, out, err = figure(run, "--data", data, "--out", tmp_path / "pairs.png", *words)
    assert (code, out) == (2, "")
    assert all(part in err.splitlines()[-1] for part in parts), err
    assert not list(tmp_path.iterdir())


def test_the_place_is_looked_at_first(figure, tmp_path):
    code, _, err = figure(tmp_path / "no-run", "--data", tmp_path / "no-data", "--out", tmp_path / "pairs.jpg")
    assert code == 2
    assert "pairs.jpg" in err
