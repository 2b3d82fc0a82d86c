"""What is told of a long scoring on a stream that is no terminal."""

from __future__ import annotations

import pytest

from crossgraph import progress
from crossgraph.progress import ProgressDisplay


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left_follow_what_is_done(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as shown:
        report = shown.for_task("scoring test")
        report("pairs", 0, 400)
        clock[0] = 4.0
        report("pairs", 100, 400)
    assert capsys.readouterr().err == "scoring test: pairs: 100 of 400, 25/s, 12 s left\n"


def test_nothing_done_yet_is_no_rate(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as shown:
        report = shown.for_task("scoring test")
        report("pairs", 0, 400)
        clock[0] = 60.0
        report("pairs", 0, 400)
    assert capsys.readouterr().err == "scoring test: pairs: 0 of 400, just begun\n"


def test_tasks_that_take_turns_keep_their_own_rates(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as shown:
        report = shown.for_task("scoring test")
        for portion in range(2):
            report("captions", 50 * portion, 100)
            clock[0] += 5.0
            report("captions", 50 * portion + 50, 100)
            report("pairs", 200 * portion, 400)
            clock[0] += 20.0
            report("pairs", 200 * portion + 200, 400)
    assert capsys.readouterr().err.splitlines() == [
        "scoring test: captions: 50 of 100, 10/s, 5 s left",
        "scoring test: pairs: 200 of 400, 10/s, 20 s left",
        "scoring test: captions: 50 of 100, 10/s, 5 s left",  # as they begin again
        "scoring test: pairs: 400 of 400, 10/s, 0 s left",
    ]


def test_a_task_done_anew_begins_anew(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as shown:
        report = shown.for_task("scoring dev")
        for seconds in (10.0, 40.0):
            report("pairs", 0, 400)
            clock[0] += seconds
            report("pairs", 200, 400)
    assert capsys.readouterr().err.splitlines() == [
        "scoring dev: pairs: 200 of 400, 20/s, 10 s left",
        "scoring dev: pairs: 200 of 400, 5/s, 40 s left",
    ]
