"""Trackers write what the log says into the run, once, whatever stopped and resumed; none can end a training."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from references.tiny_pairs import tiny_split, write_precomp

from crossgraph.cli.main import main
from crossgraph.core.errors import InputError
from crossgraph.train import loop, trackers
from crossgraph.train.callbacks import Callback, Callbacks, Guarded, Start
from crossgraph.train.config import Evaluation, ModelChoice, Recipe
from crossgraph.train.distributed import make_fabric
from crossgraph.train.job import Sources, Splits, prepare
from crossgraph.train.trackers import TRACKERS, check_trackers, metrics

Points = dict[str, list[tuple[int, float]]]
CONFIG = {"recipe": {"batch": 8}}


def train_row(step: int) -> dict[str, Any]:
    return {"event": "train", "step": step, "epoch": step / 5, "seconds": 1.0, "loss": 1 / step, "lr": 0.5}


def dev_row(step: int) -> dict[str, Any]:
    return {"event": "dev", "step": step, "epoch": step / 5, "seconds": 1.0, "rsum": 10.0 * step, "best": True}


def tensorboard_points(out: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)] for name in names}


def wandb_points(out: Path) -> Points:
    from wandb.proto.wandb_internal_pb2 import Record

    (folder,) = (out / "wandb").glob("offline-run-*")
    (file,) = folder.glob("run-*.wandb")
    points: Points = {}
    for content in wandb_records(file.read_bytes()):
        record = Record.FromString(content)
        values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for name in values.keys() - {"_step", "_runtime", "_timestamp"}:
            points.setdefault(name, []).append((values["_step"], pytest.approx(values[name])))
    return points


def wandb_records(content: bytes) -> list[bytes]:
    """Read a log of blocks of 32 kB that hold records or parts of them: checksum, length, kind (whole, first, ...)."""
    records, place, open_record = [], 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        part = content[place + 7 : place + 7 + length]
        open_record = part if kind in (1, 2) else open_record + part
        if kind in (1, 4):
            records.append(open_record)
        place += 7 + length
    return records


def trackio_points(out: Path) -> Points:
    points: Points = {}
    with sqlite3.connect(out / "trackio" / "crossgraph.db") as database:
        rows = database.execute("select step, metrics from metrics order by step").fetchall()
    database.close()
    for step, content in rows:
        for name, value in json.loads(content).items():
            points.setdefault(name, []).append((step, pytest.approx(value)))
    return points


READERS = {"tensorboard": tensorboard_points, "wandb": wandb_points, "trackio": trackio_points}


def follow(name: str, out: Path, before: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    said: list[str] = []
    follower = Guarded(name, TRACKERS[name](), said.append)
    follower.started(Start(out, CONFIG, before))
    for row in rows:
        (follower.evaluated if row["event"] == "dev" else follower.logged)(row)
    follower.finished({"finished": "all 4 steps are done", "best_rsum": 40.0})
    assert said == []


@pytest.mark.parametrize("name", TRACKERS)
def test_what_was_written_is_read_back_and_resuming_doubles_nothing(name, tmp_path, capfd, monkeypatch):
    for variable in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.setenv(variable, "http://nowhere.invalid")  # a setting of the person's must not send anything
    monkeypatch.setenv("WANDB_MODE", "online")
    follow(name, tmp_path, [], [train_row(2), dev_row(2), train_row(4), dev_row(4)])
    known = [train_row(2), dev_row(2)]  # what a kill left of the log
    follow(name, tmp_path, known, [train_row(4), dev_row(4)])
    assert READERS[name](tmp_path) == {
        "train/loss": [(2, 0.5), (4, 0.25)],
        "train/lr": [(2, 0.5), (4, 0.5)],
        "dev/rsum": [(2, 20.0), (4, 40.0)],
    }
    assert capfd.readouterr().out == ""
    assert {path.name for path in tmp_path.iterdir()} == {TRACKERS[name]().folder}


def test_metrics_are_named_by_what_they_are_of():
    assert metrics({**train_row(2), "term_ranking": 3}) == {"train/loss": 0.5, "train/lr": 0.5, "train/term_ranking": 3}


class Failing(Callback):
    folder = "failing"

    def __init__(self, at: str) -> None:
        self.at, self.heard = at, list[str]()

    def _hear(self, what: str) -> None:
        self.heard.append(what)
        if what == self.at:
            raise RuntimeError("no\nroom")

    def started(self, start: Start) -> None:
        self._hear("started")

    def logged(self, row: Mapping[str, Any]) -> None:
        self._hear("logged")

    def evaluated(self, row: Mapping[str, Any]) -> None:
        self._hear("evaluated")

    def finished(self, summary: Mapping[str, Any]) -> None:
        self._hear("finished")


RECIPE = Recipe(
    model=ModelChoice("saf", {"embed_size": 8, "word_size": 6, "sim_size": 5}),
    evaluate=Evaluation(every_steps=2),
    batch=8,
    epochs=1,
    max_steps=4,
    vocabulary_minimum=1,
    log_every=1,
)


def train(out: Path, *names: str) -> None:
    out.mkdir(exist_ok=True)
    splits = Splits(tiny_split("train", 20), tiny_split("dev", 8))
    loop.fit(prepare(RECIPE, Sources(Path("tiny"), track=names), splits), make_fabric("32", "cpu", 1), out)


@pytest.mark.parametrize("at", ["started", "logged", "evaluated", "finished"])
def test_a_failing_tracker_is_one_line_and_training_goes_on(at, tmp_path, monkeypatch, capsys):
    follower = Failing(at)
    monkeypatch.setitem(trackers.TRACKERS, "wandb", lambda: follower)
    train(tmp_path / "run", "wandb")
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert lines == ["warning: tracker 'wandb' failed and is off from here on (no room)"]
    assert follower.heard[-1] == at
    train(tmp_path / "plain")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "plain")]
    assert weights[0] == weights[1]


class Killed(BaseException):
    """Stands for a kill."""


def test_a_killed_and_resumed_training_tracks_the_steps_that_the_log_has(tmp_path, monkeypatch):
    update = loop.Training.update

    def until(self: loop.Training, group: Any) -> None:
        if self.state.step == 3:
            raise Killed
        update(self, group)

    monkeypatch.setattr(loop.Training, "update", until)
    with pytest.raises(Killed):
        train(tmp_path / "run", "tensorboard")
    monkeypatch.setattr(loop.Training, "update", update)
    train(tmp_path / "run", "tensorboard")
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    points = tensorboard_points(tmp_path / "run")
    for event, name in (("train", "loss"), ("dev", "rsum")):
        assert points[f"{event}/{name}"] == [(row["step"], row[name]) for row in logged if row["event"] == event]
    assert [step for step, _ in points["train/loss"]] == [1, 2, 3, 4]


def test_all_followers_hear_the_end_even_when_one_fails():
    first, last = Failing("nothing"), Failing("finished")
    with pytest.raises(RuntimeError):
        Callbacks([first, last]).finished({})
    assert first.heard == ["finished"]


def test_a_missing_package_is_told_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else found(name, *a))
    data = write_precomp(tmp_path / "tiny_precomp", {"train": 20, "dev": 6})
    words = ["train", "sgraf-saf-scenes", "--small", "--data", str(data), "--out", str(tmp_path / "run")]
    assert main([*words, "--track", "tensorboard", "--track", "wandb"]) == 2
    error = capsys.readouterr().err
    assert error.strip() == (
        "crossgraph train: --track wandb: the package wandb is not installed: pip install 'crossgraph[trackers]'"
    )
    assert not (tmp_path / "run").exists()


def test_an_unknown_tracker_is_answered_by_those_known(capsys):
    assert main(["train", "x", "--data", "x", "--out", "x", "--track", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
    with pytest.raises(InputError, match="known: tensorboard, wandb, trackio"):
        check_trackers(["mlflow"])
