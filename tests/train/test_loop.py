"""The loop: what it computes does not depend on when it was interrupted."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from references.tiny_pairs import tiny_split
from safetensors.torch import load_file

from crossgraph.core.errors import InputError
from crossgraph.models.base import Batch
from crossgraph.runs import load_run
from crossgraph.train import loop
from crossgraph.train.checkpoint import TrainingState, load_checkpoint
from crossgraph.train.config import (
    Checkpoints,
    Evaluation,
    LossChoice,
    ModelChoice,
    OptimiserChoice,
    Recipe,
    Regularisation,
    ScheduleChoice,
)
from crossgraph.train.distributed import make_fabric
from crossgraph.train.feed import Feed
from crossgraph.train.job import Job, Sources, Splits, prepare

RECIPE = Recipe(
    model=ModelChoice("saf", {"embed_size": 8, "word_size": 6, "sim_size": 5, "dropout": 0.3}),
    loss=LossChoice(negatives="warm-up", warm_up_steps=3),
    optimiser=OptimiserChoice("adamw", lr=5e-3, weight_decay=1e-3),
    schedule=ScheduleChoice("cosine", warm_up_steps=2),
    regularise=Regularisation(region_dropout=0.2, word_dropout=0.1, feature_noise=0.1, average=0.9),
    evaluate=Evaluation(every_steps=3),
    batch=8,
    epochs=3,
    vocabulary_minimum=1,
    log_every=2,
)  # 20 pictures × 2 captions: 5 batches an epoch


def job(recipe: Recipe = RECIPE) -> Job:
    return prepare(
        recipe,
        Sources(Path("tiny"), command="crossgraph train it"),
        Splits(tiny_split("train", 20), tiny_split("dev", 8)),
    )


def train(out: Path, recipe: Recipe = RECIPE) -> TrainingState:
    out.mkdir(exist_ok=True)
    return loop.fit(job(recipe), make_fabric(recipe.precision, "cpu", 1), out)


def everything(out: Path) -> dict[str, torch.Tensor]:
    found = load_checkpoint(out / "checkpoint")
    assert found is not None
    return {
        **found.tensors,
        **{f"best/{name}": tensor for name, tensor in load_file(out / "model.safetensors").items()},
    }


def log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "pairs_per_second", "waited_for_data")}
            for row in csv.DictReader(file)
        ]


def test_the_log_tells_what_share_of_the_time_training_waited_for_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, batches, report = [0.0], Feed.batches, loop.Training._report

    def slow(self: Feed, epoch: int, start: int = 0) -> Iterator[Batch]:
        for batch in batches(self, epoch, start):
            now[0] += 3.0
            yield batch

    def worked(self: loop.Training, *what: Any) -> None:
        now[0] += 1.0
        report(self, *what)

    monkeypatch.setattr(Feed, "batches", slow)
    monkeypatch.setattr(loop.Training, "_report", worked)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    train(tmp_path / "run", dataclasses.replace(RECIPE, max_steps=4))
    with (tmp_path / "run" / "log.csv").open(newline="") as file:
        shares = [float(row["waited_for_data"]) for row in csv.DictReader(file) if row["event"] == "train"]
    assert shares == [0.75, 0.75]


class Killed(BaseException):
    """Stands for a kill: nothing in the program may catch it."""


@pytest.mark.parametrize("last", [1, 5, 6, 14])
@pytest.mark.parametrize("evaluating", [False, True])
def test_a_training_killed_at_any_step_ends_with_the_same_weights_bit_for_bit(
    last: int, evaluating: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(RECIPE, checkpoint=Checkpoints(every_minutes=0, every_steps=2))
    straight = train(tmp_path / "straight", recipe)
    with monkeypatch.context() as patch:
        original = loop.Training.evaluate if evaluating else loop.Training.update

        def die(self: loop.Training, *rest: object) -> None:
            if self.state.step >= last:
                raise Killed
            original(self, *rest)  # type: ignore[arg-type]

        patch.setattr(loop.Training, "evaluate" if evaluating else "update", die)
        with pytest.raises(Killed):
            train(tmp_path / "killed", recipe)
    torch.manual_seed(99)  # whatever the new process's generators hold
    resumed = train(tmp_path / "killed", recipe)

    assert dataclasses.replace(resumed, seconds=0) == dataclasses.replace(straight, seconds=0)
    first, second = everything(tmp_path / "straight"), everything(tmp_path / "killed")
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert log(tmp_path / "straight") == log(tmp_path / "killed")


def test_the_run_holds_the_weights_that_dev_liked_best(tmp_path: Path) -> None:
    state = train(tmp_path)
    run = load_run(tmp_path)
    ranked = [float(row["rsum"]) for row in log(tmp_path) if row["event"] == "dev"]
    assert max(ranked) == pytest.approx(state.best_rsum, abs=1e-3)
    assert run.info.chosen_by["split"] == "dev"
    assert run.info.chosen_by["rsum"] == pytest.approx(state.best_rsum, abs=1e-3)
    assert run.info.chosen_by["step"] == state.best_step
    assert run.info.data == {name: tiny_split(name, n).fingerprint() for name, n in (("train", 20), ("dev", 8))}
    from crossgraph.train.loop import rank_dev

    again = rank_dev(run.model, tiny_split("dev", 8), run.vocabulary, print)
    assert again["rsum"] == pytest.approx(state.best_rsum)


def test_a_checkpoint_records_what_the_issue_asks(tmp_path: Path) -> None:
    train(tmp_path, dataclasses.replace(RECIPE, max_steps=2))
    found = load_checkpoint(tmp_path / "checkpoint")
    assert found is not None
    assert found.values["record"]["chosen_by_split"] == "dev"
    assert {"torch", "python", "crossgraph"} <= found.values["record"]["versions"].keys()
    assert found.values["must_agree"]["recipe"]["optimiser"]["lr"] == 5e-3
    assert found.values["must_agree"]["data"].keys() == {"train", "dev"}
    groups = {name.split("/")[0] for name in found.tensors}
    assert groups == {"model", "average", "optimiser", "rng"}


def test_it_learns(tmp_path: Path) -> None:
    fast = dataclasses.replace(
        RECIPE,
        model=ModelChoice("saf", {"embed_size": 32, "word_size": 16, "sim_size": 16, "dropout": 0.0}),
        regularise=Regularisation(),
        loss=LossChoice(negatives="sum"),
        optimiser=OptimiserChoice("adam", lr=3e-3),
        evaluate=Evaluation(),
        epochs=12,
    )
    train(tmp_path, fast)
    ranked = [float(row["rsum"]) for row in log(tmp_path) if row["event"] == "dev"]
    losses = [float(row["loss"]) for row in log(tmp_path) if row["event"] == "train"]
    assert losses[-1] < 0.7 * losses[0]
    assert max(ranked) > ranked[0]


def test_it_stops_when_dev_no_longer_improves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rsums = iter([10.0, 30.0, 20.0, 29.0, 28.0])
    monkeypatch.setattr(loop, "rank_dev", lambda *_: {"rsum": next(rsums), "i2t_r1": 1.0, "t2i_r1": 1.0})
    state = train(tmp_path, dataclasses.replace(RECIPE, evaluate=Evaluation(every_steps=1, patience=2)))
    assert state.finished == "dev rSum has not improved in 2 evaluations"
    assert (state.step, state.best_step, state.best_rsum) == (4, 2, 30.0)


def test_gradients_of_accumulated_batches_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = dataclasses.replace(
        RECIPE,
        model=ModelChoice("sgr", {"embed_size": 8, "word_size": 6, "sim_size": 5, "dropout": 0.0}),
        regularise=Regularisation(),
        optimiser=OptimiserChoice("adam", lr=1e-9, clip=0.0),
    )
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    one = loop.Training(job(plain), make_fabric("32", "cpu", 1), tmp_path / "a")
    two = loop.Training(job(dataclasses.replace(plain, accumulate=2)), make_fabric("32", "cpu", 1), tmp_path / "b")
    batches = list(one.job.feed.batches(0))[:2]
    sums: dict[str, torch.Tensor] = {}
    for batch in batches:
        one.update([batch])
        for name, parameter in one.model.named_parameters():
            assert parameter.grad is not None
            sums[name] = sums.get(name, torch.zeros_like(parameter)) + parameter.grad
    two.update(batches)
    for name, parameter in two.model.named_parameters():
        torch.testing.assert_close(parameter.grad, sums[name], rtol=1e-4, atol=1e-5)
    assert (one.state.step, two.state.step) == (2, 1)
    assert one.state.batch == two.state.batch == 2
    assert two.total_steps == 3 * 3  # 5 batches an epoch by twos: the last step has one
    one.close(), two.close()


def test_bf16_trains_and_ranks(tmp_path: Path) -> None:
    state = train(tmp_path, dataclasses.replace(RECIPE, precision="bf16", max_steps=4))
    assert state.finished
    assert all(
        tensor.dtype == torch.float32
        for tensor in load_file(tmp_path / "model.safetensors").values()
        if tensor.is_floating_point()
    )


def test_nan_ends_training_in_one_line_and_spares_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = job(dataclasses.replace(RECIPE, checkpoint=Checkpoints(every_steps=1)))
    with torch.no_grad():
        next(iter(broken.model.parameters())).fill_(float("nan"))
    with pytest.raises(InputError, match=r"broke at step 0: the loss became nan: lower --optimiser\.lr"):
        loop.fit(broken, make_fabric("32", "cpu", 1), tmp_path)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    original = loop.Training.update

    def interrupted(self: loop.Training, group: list[object]) -> None:
        if self.state.step == 4:
            signal.raise_signal(signal.SIGINT)
        original(self, group)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Training, "update", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"saved at step 5 of 15; go on with: crossgraph train it --resume"):
        train(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    found = load_checkpoint(tmp_path / "checkpoint")
    assert found is not None
    assert found.values["state"]["step"] == 5


def test_the_jsonl_has_the_terms_and_finite_numbers(tmp_path: Path) -> None:
    train(tmp_path, dataclasses.replace(RECIPE, max_steps=4))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {row["event"] for row in rows} == {"train", "dev"}
    assert all("term_ranking" in row and row["lr"] > 0 for row in rows if row["event"] == "train")
