"""The log files of a run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from crossgraph.train.callbacks import RunLog


def rows(folder: Path) -> list[tuple[str, int]]:
    jsonl = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    with (folder / "log.csv").open(newline="") as file:
        table = [(row["event"], int(row["step"])) for row in csv.DictReader(file)]
    assert table == [(row["event"], row["step"]) for row in jsonl]
    return table


def test_resuming_takes_away_what_the_checkpoint_does_not_know(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 0)
    for step in (10, 20, 30):
        log.add({"event": "train", "step": step, "loss": 1.5, "term_ranking": 1.5})
    log.add({"event": "dev", "step": 20, "rsum": 100.0})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "train", "st')  # a kill tore the last line

    RunLog(tmp_path, step=20, evaluated_step=10).close()
    assert rows(tmp_path) == [("train", 10), ("train", 20)]


def test_terms_of_a_model_stand_in_the_jsonl_alone(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0, 0)
    log.add({"event": "train", "step": 1, "loss": 3.0, "term_ranking": 2.0, "term_extra": 1.0})
    log.close()
    assert json.loads((tmp_path / "log.jsonl").read_text())["term_extra"] == 1.0
    assert "extra" not in (tmp_path / "log.csv").read_text()
