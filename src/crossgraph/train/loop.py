"""The training loop: optimiser steps, evaluation on dev, checkpoints, resumption."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from crossgraph.data.split import Split
from crossgraph.models.base import Batch, Matcher
from crossgraph.scoring.engine import ScoringOptions, score_split
from crossgraph.scoring.recall import recalls
from crossgraph.text.vocabulary import Vocabulary
from crossgraph.train.callbacks import Callbacks, Guarded, RunLog, Start, TrainingProgress
from crossgraph.train.checkpoint import (
    AveragedWeights,
    TrainingState,
    capture_generators,
    load_checkpoint,
    pack,
    save_checkpoint,
    seed_everything,
    unpack,
)
from crossgraph.train.collapse import CollapseDetector
from crossgraph.train.distributed import any_process, from_all, from_first
from crossgraph.train.interrupt import Interrupt
from crossgraph.train.job import Job
from crossgraph.train.run_folder import CHECKPOINTS
from crossgraph.train.schedules import learning_rate_factor, parameter_groups
from crossgraph.train.step import StepInput, TrainingStep, make_objective
from crossgraph.train.trackers import TRACKERS

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_STALE_CHECKPOINT = 20.0  # seconds of training since the last checkpoint, before an evaluation is preceded by one
_SILENT = 10.0  # seconds of an evaluation before its first line of progress, and between two lines


def fit(job: Job, fabric: Fabric, out: Path) -> TrainingState:
    """Train until the epochs are over, or dev stops improving; resume from a checkpoint where there is one.

    Args:
        job: What to train, on what.
        fabric: Set up and launched.
        out: The run's folder, locked by the caller.

    Returns:
        The final numbers.

    Raises:
        InputError: The loss is not finite, training collapsed, or the disk is full.
        KeyboardInterrupt: Ctrl-C; the state is saved and the message says how to resume.
    """
    training = Training(job, fabric, out)
    try:
        training.run()
    finally:
        training.close()
    return training.state


class Training:
    """A training in progress; `fit` runs it.

    Args:
        job: What to train, on what.
        fabric: Set up and launched.
        out: The run's folder.
    """

    def __init__(self, job: Job, fabric: Fabric, out: Path) -> None:
        self.job, self.fabric, self.out = job, fabric, out
        self.recipe = job.recipe
        self.first = fabric.global_rank == 0
        self.steps_per_epoch = math.ceil(job.feed.batches_per_epoch / self.recipe.accumulate)
        self.total_steps = self.steps_per_epoch * self.recipe.epochs
        if self.recipe.max_steps:
            self.total_steps = min(self.total_steps, self.recipe.max_steps)
        self.model = job.model
        self.step, self.optimiser = self._set_up()
        self.average = (
            AveragedWeights(self.model, self.recipe.regularise.average) if self.recipe.regularise.average else None
        )
        self.state = self._restore()
        self.collapse = CollapseDetector(self.recipe, self.steps_per_epoch)
        self.interrupt = Interrupt()
        self.display = TrainingProgress(self.total_steps, self.state.step, self.first)
        self.callbacks = self._start_callbacks()
        self.saved: tuple[int, int, str] | None = None  # what `save` wrote last
        self.saved_at = self.clock = time.monotonic()
        self._start_row()

    def run(self) -> None:
        """Run to the end; see `fit`."""
        if self.state.step > 0:
            self.saved = (self.state.step, self.state.evaluated_step, self.state.finished)
        self.evaluate_and_save()  # a checkpoint may have been written just before an evaluation that was due
        while not self.state.finished:
            state, feed = self.state, self.job.feed
            with contextlib.closing(self._count_waiting(feed.batches(state.epoch, state.batch))) as batches:
                for group in _groups(batches, feed.batches_per_epoch - state.batch, self.recipe.accumulate):
                    self.update(group)
                    self.evaluate_and_save()
                    if state.finished:
                        break

    def update(self, group: list[Batch] | BatchGroup) -> None:
        """Take one optimiser step on the added gradients of some batches."""
        state = self.state
        lr = self.recipe.optimiser.lr * learning_rate_factor(self.recipe.schedule, state.progress, self.total_steps)
        for entry in self.optimiser.param_groups:
            entry["lr"] = lr * entry.get("share", 1.0)
        self.optimiser.zero_grad(set_to_none=True)
        terms: dict[str, float] = {}
        pairs = 0
        for number, batch in enumerate(group, start=1):
            pairs += len(batch.tokens)
            with self._unsynchronised(number < len(group)):
                losses: dict[str, Tensor] = self.step(StepInput(batch.to(self.fabric.device), state.progress))
                spread = losses.pop("spread")
                self.fabric.backward(torch.stack(list(losses.values())).sum())
            for name, value in losses.items():
                terms[name] = terms.get(name, 0.0) + value.item()
            heads = [value.item() for name, value in losses.items() if name.startswith("ranking")]
            ranking = max(heads, default=0.0)  # of several ranking losses, a collapsed one is the highest
        limit = self.recipe.optimiser.clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        if warning := self.collapse.check(state.step, ranking, spread.item(), sum(terms.values()), norm):
            self.display.log(warning)
        self.optimiser.step()
        self._advance(len(group), sum(terms.values()) / len(group))
        if self.average is not None:
            self.average.update(self.model, state.step)
        self._report(pairs, terms, lr, norm)

    def evaluate_and_save(self) -> None:
        """After a step: evaluate on dev when due, decide whether training is over, save when due or interrupted.

        Whether an evaluation is due depends on the state alone, and it draws no random numbers. So a training that is
        killed anywhere and resumed evaluates the same weights as one that was not.
        """
        state, recipe = self.state, self.recipe
        due = self._evaluation_due()
        since = time.monotonic() - self.saved_at
        # Clocks and signals differ between processes, and `save` is collective: all must come to the same answer.
        asked, stale = any_process(
            self.interrupt.asked,
            since >= (_STALE_CHECKPOINT if due else recipe.checkpoint.every_minutes * 60 or math.inf),
        )
        every = recipe.checkpoint.every_steps
        if asked or stale or (every and state.step % every == 0 and state.step > 0):
            self.save()
        if asked:
            raise KeyboardInterrupt(self.how_to_resume())
        if due:
            with self.interrupt.at_once(self.how_to_resume):
                self.evaluate()
            self._decide_end()
            self.save()

    def evaluate(self) -> None:
        """Compute dev's recalls, and save the weights where their rSum is the best so far."""
        state, model = self.state, self.average.model if self.average is not None else self.model
        figures = from_first(lambda: rank_dev(model, self.job.dev, self.job.vocabulary, self.display.log))
        state.evaluated_step = state.step
        best = figures["rsum"] > state.best_rsum
        if best:
            state.best_rsum, state.best_step, state.stale = figures["rsum"], state.step, 0
            state.best_epoch = round(state.epoch + state.batch / self.job.feed.batches_per_epoch, 4)
            if self.first:
                self.job.save_best(self.out, model, state)
        else:
            state.stale += 1
        rounded = {name: round(value, 4) for name, value in figures.items()}
        self.callbacks.evaluated({"event": "dev", **self._where(), **rounded, "best": best})
        self.clock = time.monotonic()  # seconds and pairs per second count training alone
        self._start_row()

    def save(self) -> None:
        """Write a checkpoint, unless the last one holds the same; the best weights are in the run's own files."""
        current = (self.state.step, self.state.evaluated_step, self.state.finished)
        if current == self.saved:
            return
        self.saved = current
        generators = from_all(capture_generators())  # collective: dropout draws other numbers in every process
        if self.first:
            packed = pack(self.state, self.model, self.average, self.optimiser, generators, self.job.about)
            save_checkpoint(self.out / CHECKPOINTS, self.state.step, packed)
        self.saved_at = time.monotonic()

    def how_to_resume(self) -> str:
        """Return the line that a stopped training ends with."""
        return f"saved at step {self.state.step} of {self.total_steps}; go on with: {self.job.resume_command}"

    def close(self) -> None:
        """Restore terminal and signal handlers, close files."""
        self.interrupt.close()
        state = self.state
        self.callbacks.finished(
            {"finished": state.finished or "stopped", "best_rsum": state.best_rsum, "best_step": state.best_step}
        )

    def _start_callbacks(self) -> Callbacks:
        """Return the started callbacks; the first process alone has any."""
        if not self.first:
            return Callbacks([])
        log = RunLog(self.out, self.state.step, self.state.evaluated_step)
        trackers = [Guarded(name, TRACKERS[name](), self.display.log) for name in dict.fromkeys(self.job.sources.track)]
        callbacks = Callbacks([log, self.display, *trackers])
        agreed = self.job.about["must_agree"]
        callbacks.started(Start(self.out, {key: agreed[key] for key in ("recipe", "data")}, log.rows))
        return callbacks

    def _set_up(self) -> tuple[Any, torch.optim.Optimizer]:
        recipe, job = self.recipe, self.job
        step = TrainingStep(
            self.model,
            make_objective(recipe.loss, self.steps_per_epoch),
            recipe.loss.same_image == "masked",
            recipe.regularise,
            job.vocabulary.row("<unk>"),
            tuple(job.vocabulary.row(word) for word in ("<pad>", "<start>", "<end>", "<unk>")),
        )
        kind = torch.optim.AdamW if recipe.optimiser.name == "adamw" else torch.optim.Adam
        groups = parameter_groups(step, recipe.optimiser)
        optimiser = kind(groups, lr=recipe.optimiser.lr, weight_decay=recipe.optimiser.weight_decay, fused=True)
        # The model's initial weights are drawn by now, the same in every process; from here on each draws its own.
        seed_everything(recipe.seed, self.fabric.global_rank)
        wrapped, optimiser = self.fabric.setup(step, optimiser)
        wrapped.train()
        return wrapped, optimiser

    def _restore(self) -> TrainingState:
        checkpoint = load_checkpoint(self.out / CHECKPOINTS)
        if checkpoint is None:
            return TrainingState()
        return unpack(checkpoint, self.model, self.average, self.optimiser, self.fabric.global_rank)

    def _advance(self, batches: int, loss: float) -> None:
        state, now = self.state, time.monotonic()
        state.step += 1
        state.batch += batches
        if state.batch >= self.job.feed.batches_per_epoch:
            state.epoch, state.batch = state.epoch + 1, 0
        state.loss_sum, state.loss_steps = state.loss_sum + loss, state.loss_steps + 1
        state.seconds += now - self.clock
        self.clock = now

    def _report(self, pairs: int, terms: dict[str, float], lr: float, norm: float) -> None:
        state = self.state
        self.row_pairs += pairs * self.fabric.world_size
        elapsed = max(1e-9, time.monotonic() - self.row_at)
        rate, waited = self.row_pairs / elapsed, self.row_waited / elapsed
        mean = state.loss_sum / state.loss_steps
        self.callbacks.stepped(state.step, (state.step - 1) // self.steps_per_epoch, mean, rate)
        if state.step % self.recipe.log_every:
            return
        row = {"event": "train", **self._where(), "loss": mean, "lr": lr, "gradient_norm": norm}
        named = {f"term_{name}": value for name, value in terms.items()}
        speed = {"pairs_per_second": round(rate, 1), "waited_for_data": round(waited, 4)}
        self.callbacks.logged({**row, **speed, **named})
        state.loss_sum, state.loss_steps = 0.0, 0
        self._start_row()

    def _start_row(self) -> None:
        """Reset what the next row of the log averages."""
        self.row_pairs, self.row_waited, self.row_at = 0, 0.0, time.monotonic()

    def _count_waiting(self, batches: Iterable[Batch]) -> Generator[Batch]:
        """Yield the batches, and add the seconds spent waiting for them to `row_waited`."""
        stream = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(stream, None)
            self.row_waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def _where(self) -> dict[str, Any]:
        state = self.state
        epoch = state.epoch + state.batch / self.job.feed.batches_per_epoch
        return {"step": state.step, "epoch": round(epoch, 4), "seconds": round(state.seconds, 2)}

    def _evaluation_due(self) -> bool:
        """Return whether dev is to be evaluated now: a function of the state alone, so that resuming agrees."""
        state, choice = self.state, self.recipe.evaluate
        if state.step == state.evaluated_step:
            return False
        epoch_ended = state.batch == 0 and state.epoch % choice.every_epochs == 0
        by_steps = choice.every_steps > 0 and state.step % choice.every_steps == 0
        return epoch_ended or by_steps or state.step >= self.total_steps

    def _decide_end(self) -> None:
        state, patience = self.state, self.recipe.evaluate.patience
        if state.step >= self.total_steps:
            state.finished = f"all {self.total_steps} steps are done"
        elif patience and state.stale >= patience:
            state.finished = f"dev rSum has not improved in {patience} evaluations"

    def _unsynchronised(self, more_to_come: bool) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which DDP averages no gradients, unless this is the last batch of a step."""
        if more_to_come and self.fabric.world_size > 1:
            return self.fabric.no_backward_sync(self.step)
        return contextlib.nullcontext()


def rank_dev(model: Matcher, dev: Split, vocabulary: Vocabulary, log: Callable[[str], None]) -> dict[str, float]:
    """Score a dev split whole and return its recalls; draws no random numbers.

    Args:
        model: In any mode; left in it.
        dev: The split.
        vocabulary: The model's.
        log: Takes a line of progress now and then, where scoring takes long.

    Returns:
        "rsum", and R@1, 5, 10 both ways ("i2t_r1", …), in percent.

    Raises:
        InputError: A score is NaN or infinite.
    """
    last = time.monotonic()

    def progress(task: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SILENT:
            last = time.monotonic()
            log(f"ranking dev: {100 * done / total:.0f} % of {total:,} {task}")

    result = recalls(score_split(model, vocabulary, dev, ScoringOptions(progress=progress)), dev.caption_image)
    sides = (("i2t", result.i2t), ("t2i", result.t2i))
    return {"rsum": result.rsum, **{f"{name}_r{k}": share for name, side in sides for k, share in side.recall.items()}}


class BatchGroup:
    """The next batches of a stream, each read when it is its turn: the others take no memory yet.

    Args:
        stream: Holds at least `count` more.
        count: Number of batches.
    """

    def __init__(self, stream: Iterator[Batch], count: int) -> None:
        self._stream, self._count = stream, count

    def __len__(self) -> int:
        """Return the number of batches."""
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        """Take the batches from the stream."""
        return itertools.islice(self._stream, self._count)


def _groups(stream: Iterator[Batch], batches: int, size: int) -> Iterator[BatchGroup]:
    """Return a stream of `batches` batches in groups of `size`; the last may be smaller."""
    return (BatchGroup(stream, min(size, batches - done)) for done in range(0, batches, size))
