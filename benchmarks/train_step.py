"""One training step of SGR and SAF at full size: the published way beside ours, in one run; memory in processes alone.

"Published" scores one caption against all pictures at a time and keeps the graph of all of them, as the authors' code
does, on our layers with PyTorch's packed GRU. Ours is the step of `crossgraph train`. Both begin with the same weights
and batch, and their losses and gradients are compared; a step is forward, backward and nothing else.

python benchmarks/train_step.py [--model sgr --model saf] [--batch 128] [--repeat 2] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `crossgraph train` does

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from crossgraph.core.types import ImageCode, Regions, TextCode, Tokens
from crossgraph.graphs.cross_attention import contexts_of_words
from crossgraph.graphs.similarity_graph import SimilarityVector
from crossgraph.losses import Hinge
from crossgraph.memory import keep_freed_memory
from crossgraph.models import base
from crossgraph.models.base import MODELS, Batch, Inputs, Matcher, Progress
from crossgraph.models.training_blocks import PairComputation, score_in_blocks
from crossgraph.text import recurrence
from crossgraph.text.recurrence import run_gru_directions
from crossgraph.train.step import StepInput, TrainingStep

REGIONS, WIDTH, VOCABULARY = 36, 2048, 8000
SHORTEST, LONGEST = 9, 17  # tokens of a caption, start and end among them: 13 on average
FORMS = ("published", "ours", "ours-bf16")


def composed(self: Any, weights: Tensor, contexts: Tensor, queries: Tensor) -> Tensor:
    """Compare queries with what they saw as the equations say it, operation by operation."""
    return self(contexts_of_words(weights, contexts), queries[:, None])


def published(pairs: PairComputation, images: ImageCode, texts: TextCode) -> dict[str, Tensor]:
    """Score one caption at a time, without padding, and keep everything for the backward pass."""
    columns: dict[str, list[Tensor]] = {}
    for j, words in enumerate(texts.mask.sum(dim=1).tolist()):
        one = texts.select(slice(j, j + 1))
        one = TextCode(one.local[:, :words], one.mask[:, :words], one.index, one.parts)
        for name, scores in pairs.score_all(images, one).items():
            columns.setdefault(name, []).append(scores)
    return {name: torch.cat(parts, dim=1) for name, parts in columns.items()}


def packed(gru: nn.GRU, embedded: Tensor, lengths: Tensor) -> list[Tensor]:
    """Read captions by PyTorch's packed GRU, as the authors do."""
    rows = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(gru(rows)[0], batch_first=True, total_length=embedded.shape[1])
    return list(states.chunk(2 if gru.bidirectional else 1, dim=-1))


FUSED = SimilarityVector.of_contexts
WAYS: dict[str, Callable[..., dict[str, Tensor]]] = {
    "published": published,
    "ours": score_in_blocks,
    "ours-bf16": score_in_blocks,
}


def make(name: str, pairs: int, negatives: str) -> tuple[Matcher, TrainingStep, StepInput]:
    torch.manual_seed(0)
    model: Matcher = MODELS[name](MODELS[name].Config(dropout=0.0), Inputs(WIDTH, VOCABULARY))
    lengths = torch.randint(SHORTEST, LONGEST + 1, (pairs,))
    ids = torch.randint(4, VOCABULARY, (pairs, LONGEST)) * (torch.arange(LONGEST) < lengths[:, None])
    regions = Regions(torch.rand(pairs, REGIONS, WIDTH), torch.ones(pairs, REGIONS, dtype=torch.bool))
    batch = Batch(regions, Tokens(ids[:, : int(lengths.max())], lengths), torch.arange(pairs))
    step = TrainingStep(model, Hinge(0.2, "hardest" if negatives == "hardest" else "sum")).train()
    return model, step, StepInput(batch, Progress())


def take(step: TrainingStep, given: StepInput, form: str) -> tuple[float, float, float]:
    """Take a step; return the loss, the seconds and the processor seconds."""
    step.zero_grad(set_to_none=True)
    base.score_in_blocks = WAYS[form]
    SimilarityVector.of_contexts = composed if form == "published" else FUSED
    started, worked = time.perf_counter(), time.process_time()
    recurrence.run_gru_directions = packed if form == "published" else run_gru_directions
    with torch.autocast("cpu", torch.bfloat16, enabled=form.endswith("bf16")):
        terms = step(given)
    terms.pop("spread")
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    return loss.item(), time.perf_counter() - started, time.process_time() - worked


def gradients(model: Matcher) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def compare(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Take steps of all forms in turn."""
    model, step, given = make(name, args.batch, args.negatives)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    seconds: dict[str, list[tuple[float, float]]] = {form: [] for form in args.forms}
    losses: dict[str, float] = {}
    found: dict[str, Tensor] = {}
    for turn in range(args.repeat + 1):
        for form in args.forms:
            if turn == 0 and form == "published":
                continue  # the first step of ours warms up; the published one takes too long to be thrown away
            model.load_state_dict(state)
            losses[form], *taken = take(step, given, form)
            if turn:
                seconds[form].append((taken[0], taken[1]))
            if turn == 1:
                found[form] = gradients(model)
    row: dict[str, Any] = {"model": name, "negatives": args.negatives, "batch": args.batch}
    for form in args.forms:
        wall, worked = (statistics.median(values) for values in zip(*seconds[form], strict=True))
        row[form] = {"seconds": round(wall, 2), "processor_seconds": round(worked, 2), "loss": losses[form]}
        if "published" in args.forms and form != "published":
            first, expected = row["published"], found["published"]
            row[form]["times_faster"] = round(first["seconds"] / wall, 2)
            row[form]["times_fewer_processor_seconds"] = round(first["processor_seconds"] / worked, 2)
            row[form]["loss_difference"] = abs(losses[form] / losses["published"] - 1)
            row[form]["gradient_difference_of_largest"] = float(
                (found[form] - expected).abs().max() / expected.abs().max()
            )
            row[form]["gradient_difference_of_norm"] = float((found[form] - expected).norm() / expected.norm())
    return row


def measure_memory(name: str, form: str, args: argparse.Namespace, allocator: str = "kept") -> dict[str, float]:
    """Take steps of one form in a process of its own."""
    command = [sys.executable, __file__, "--alone", form, "--model", name, "--batch", str(args.batch)]
    command += ["--negatives", args.negatives, "--threads", str(args.threads), "--allocator", allocator]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(told.splitlines()[-1])


def alone(name: str, form: str, args: argparse.Namespace) -> None:
    _, step, given = make(name, args.batch, args.negatives)
    before = largest_size()
    worked = [take(step, given, form)[2] for _ in range(args.repeat + 1)][1:]
    sizes = {"peak_gb": round(largest_size(), 2), "peak_gb_before_the_step": round(before, 2)}
    print(json.dumps({**sizes, "processor_seconds_alone": round(statistics.median(worked), 2)}))


def largest_size() -> float:
    """Return the largest size that this process has had, in GB; getrusage would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", action="append")
    parser.add_argument("--forms", action="append")
    parser.add_argument("--negatives", default="hardest")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--memory", action="append", default=[], help="forms whose largest size in a process alone is wanted"
    )
    parser.add_argument("--alone", default="")
    parser.add_argument("--allocator", default="kept", help="kept: freed memory is kept, as in training; or system")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.model, args.forms = args.model or ["sgr", "saf"], args.forms or list(FORMS)
    torch.set_num_threads(args.threads)
    if args.allocator == "kept":
        keep_freed_memory()
    if args.alone:
        alone(args.model[0], args.alone, args)
        return
    rows: list[dict[str, Any]] = []
    for name in args.model:
        row = compare(name, args)
        for form in args.memory:
            row[form] |= measure_memory(name, form, args)
            if form != "published":
                row[form]["with_the_system_s_allocator"] = measure_memory(name, form, args, "system")
        rows.append(row)
        print(json.dumps(row, indent=1), flush=True)
        if args.out:
            write(args, rows)


def write(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Write what is known so far."""
    args.out.mkdir(parents=True, exist_ok=True)
    about = {"torch": torch.__version__, "threads": args.threads, "processor": platform.machine()}
    about |= {"cores": os.cpu_count(), "load_at_the_end": round(os.getloadavg()[0], 1)}
    path = args.out / f"step-{args.negatives}-{args.batch}.json"
    path.write_text(json.dumps({"about": about, "command": sys.argv[1:], "steps": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
