"""What is told of a long scoring on a stream that is no terminal."""

from __future__ import annotations

import pytest

from crossgraph.scoring import progress
from crossgraph.scoring.progress import ScoringProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left_follow_what_is_done(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ScoringProgress() as shown:
        report = shown.about("scoring test")
        report("pairs", 0, 400)
        clock[0] = 4.0
        report("pairs", 100, 400)
    assert capsys.readouterr().err == "scoring test: pairs: 100 of 400, 25/s, 12 s left\n"


def test_nothing_done_yet_is_no_rate(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ScoringProgress() as shown:
        report = shown.about("scoring test")
        report("pairs", 0, 400)
        clock[0] = 60.0
        report("pairs", 0, 400)
    assert capsys.readouterr().err == "scoring test: pairs: 0 of 400, just begun\n"
