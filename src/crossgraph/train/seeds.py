"""Several seeds of one recipe, and what they say together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossgraph.files import write_json
from crossgraph.train.state import TrainingState

SUMMARY = "summary.json"


def summarise(out: Path, seeds: Sequence[int], states: Sequence[TrainingState]) -> dict[str, Any]:
    """Write `summary.json`: dev rSum by seed, their mean and standard deviation.

    Args:
        out: The folder of the runs `seed-0`, `seed-1`, …
        seeds: In order.
        states: The trainings' final numbers, likewise.

    Returns:
        What was written. The deviation is the sample's (n − 1); 0 for one seed.
    """
    rsums = [state.best_rsum for state in states]
    summary = {
        "format_version": 1,
        "figure": "dev rSum",
        "runs": [
            {
                "run": f"seed-{seed}",
                "seed": seed,
                "rsum": round(state.best_rsum, 4),
                "step": state.best_step,
                "epoch": state.best_epoch,
            }
            for seed, state in zip(seeds, states, strict=True)
        ],
        "mean": round(statistics.fmean(rsums), 4),
        "std": round(statistics.stdev(rsums), 4) if len(rsums) > 1 else 0.0,
    }
    write_json(out / SUMMARY, summary)
    return summary


def table(summary: dict[str, Any]) -> str:
    """Return a summary as lines for people."""
    lines = [f"{'seed':>6}  {'dev rSum':>8}  {'epoch':>6}"]
    lines += [f"{run['seed']:>6}  {run['rsum']:>8.1f}  {run['epoch']:>6.2f}" for run in summary["runs"]]
    return "\n".join(
        [*lines, f"{'mean':>6}  {summary['mean']:>8.1f} ± {summary['std']:.1f} over {len(summary['runs'])} seeds"]
    )
