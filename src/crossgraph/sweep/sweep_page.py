"""Writes the table of `crossgraph sweep`, from the cards in its folder and from nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from crossgraph.files import write_json, write_text
from crossgraph.sweep.cards import MISSING, format_duration
from crossgraph.sweep.definition import Variant
from crossgraph.sweep.run_status import SweepPaths, last_logged, valid_card
from crossgraph.sweep.work import key
from crossgraph.tables import Table

FORMAT_VERSION = 1
FIGURES = {"i2t_r1": "i2t R@1", "t2i_r1": "t2i R@1", "rsum": "rSum"}


def collect(paths: SweepPaths, fingerprint: str, problems: Mapping[str, str]) -> dict[str, Any]:
    """Read every row's cards.

    Args:
        paths: Of the sweep.
        fingerprint: Of the split; cards of other data or of other weights count as missing.
        problems: Why rows failed, by `work.key`.

    Returns:
        The table as plain JSON values.
    """
    sweep = paths.sweep
    rows = [_row(paths, variant, fingerprint, problems) for variant in sweep.variants]
    data = next((run["data"] for row in rows for run in row["runs"] if run["data"]), None)
    return {
        "format_version": FORMAT_VERSION,
        "title": sweep.title,
        "split": paths.split,
        "seeds": sweep.seeds,
        "paper": sweep.paper,
        "paper_data": sweep.paper_data,
        "data": data,
        "rows": rows,
    }


def write(table: Mapping[str, Any], paths: SweepPaths) -> str:
    """Write the table as Markdown, JSON and CSV into the sweep's folder; each file is whole or not there.

    Returns:
        The Markdown.

    Raises:
        InputError: The folder cannot be written.
    """
    stem = "table" if paths.split == "test" else f"table-{paths.split}"
    text = markdown(table)
    write_json(paths.out / f"{stem}.json", table)
    write_text(paths.out / f"{stem}.csv", _as_csv(table))
    write_text(paths.out / f"{stem}.md", text)
    return text


def markdown(table: Mapping[str, Any]) -> str:
    """Return a table as Markdown, with what a reader must know below it."""
    ours, data = f"{table['split']} split", table["data"]
    if data:
        ours += f" of {data['images']:,} pictures and {data['captions']:,} captions"
    paper = bool(table["paper"])
    head = ["variant", "what varies", "R@1 image→text", "R@1 text→image", "rSum", "parameters", "training"]
    head += ["table", f"{table['paper']}: R@1 both ways"] if paper else []
    rows: list[list[str]] = []
    for row in table["rows"]:
        label = row["label"] + (f" — **failed**: {row['problem']}" if row["problem"] else "")
        cells = [f"`{row['name']}`", label, *(_figure(row["runs"], name) for name in FIGURES)]
        cells += [_parameters(row["runs"]), _duration(row["runs"])]
        rows.append(cells + ([row["table"] or "–", _reported(row["reported"])] if paper else []))
    return (
        "\n\n".join([f"# {table['title']}: {ours}", Table(head, rows, text_columns=2).to_markdown(), *_notes(table)])
        + "\n"
    )


def _row(paths: SweepPaths, variant: Variant, fingerprint: str, problems: Mapping[str, str]) -> dict[str, Any]:
    failed = [problems[name] for seed in paths.sweep.seeds if (name := key(variant, seed)) in problems]
    reported = variant.reported
    return {
        "name": variant.name,
        "label": " ".join(variant.label.split()),
        "table": variant.table,
        "ensemble": variant.ensemble,
        "reported": {"i2t_r1": reported.i2t_r1, "t2i_r1": reported.t2i_r1},
        "runs": [_run(paths, variant, seed, fingerprint) for seed in paths.sweep.seeds],
        "problem": failed[0] if failed else None,
    }


def _run(paths: SweepPaths, variant: Variant, seed: int, fingerprint: str) -> dict[str, Any]:
    folders, path = paths.runs(variant, seed), paths.card(variant, seed)
    entry: dict[str, Any] = {"seed": seed, "figures": None, "intervals": None, "parameters": None, "data": None}
    entry |= {"seconds": None, "chosen_by": None, "card": path.relative_to(paths.out).as_posix()}
    card = valid_card(path, folders, fingerprint)
    if card is None:
        return entry
    whole, models = card["results"]["whole"], card["models"]["entries"]
    spent = [last_logged(folder).get("seconds") for folder in folders]
    return entry | {
        "seconds": round(sum(known), 1) if len(known := [s for s in spent if s is not None]) == len(spent) else None,
        "figures": {name: whole["figures"][theirs] for name, theirs in FIGURES.items()},
        "intervals": {name: whole["intervals"][theirs] for name, theirs in FIGURES.items()},
        "parameters": sum(model["parameters"] for model in models),
        "chosen_by": [model["chosen_by"] for model in models],
        "data": {name: card["data"][name] for name in ("images", "captions", "fingerprint", "region_encoder")},
    }


def _figure(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return a figure with its bootstrap interval, or the seeds' mean with their standard deviation."""
    finished = [run for run in runs if run["figures"]]
    if not finished:
        return MISSING
    values = [run["figures"][name] for run in finished]
    if len(runs) == 1:
        low, high = finished[0]["intervals"][name]
        return f"{values[0]:.1f} ({low:.1f}–{high:.1f})"
    missing = f", {len(runs) - len(finished)} missing" if len(finished) < len(runs) else ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread} (n = {len(values)}{missing})"


def _parameters(runs: Sequence[Mapping[str, Any]]) -> str:
    return next((f"{run['parameters']:,}" for run in runs if run["parameters"] is not None), MISSING)


def _duration(runs: Sequence[Mapping[str, Any]]) -> str:
    seconds = [run["seconds"] for run in runs if run["seconds"] is not None]
    return format_duration(statistics.fmean(seconds)) if seconds else MISSING


def _reported(reported: Mapping[str, Any]) -> str:
    cells = [MISSING if value is None else f"{value:.1f}" for value in reported.values()]
    return "–" if set(cells) == {MISSING} else " / ".join(cells)


def _notes(table: Mapping[str, Any]) -> list[str]:
    several = len(table["seeds"]) > 1
    if several:
        spread = f"Means over {len(table['seeds'])} seeds with their standard deviation."
    else:
        spread = (
            f"One seed ({table['seeds'][0]}); in brackets 95 % bootstrap intervals over the pictures asked about, "
            "which do not say how much another seed would change."
        )
    notes = ["R@1: share of queries, in %, whose first answer is right; rSum: of R@1, 5, 10 both ways, at most 600."]
    notes.append(spread)
    if table["split"] == "dev":
        notes.append("Weights were chosen on this split, so its figures flatter all variants.")
    else:
        notes.append(
            f"Weights were chosen on dev while training. {table['split']} was evaluated once per variant, and nothing "
            "was chosen by it."
        )
    notes.append("Training: seconds at work, on whatever else the machine did. `?`: not there yet.")
    if table["paper"]:
        notes.append(
            f"Last column: as {table['paper']} reports it, on {table['paper_data']}: other data, features and sizes. "
            "Differences between rows may be compared with ours, figures may not."
        )
    return notes


def _as_csv(table: Mapping[str, Any]) -> str:
    """Return the table as CSV, one line for each run."""
    bounds = [f"{name}_{side}" for name in FIGURES for side in ("low", "high")]
    columns = ["variant", "seed", "label", *FIGURES, *bounds, "parameters", "seconds"]
    rows: list[list[str | float | None]] = []
    for row in table["rows"]:
        for run in row["runs"]:
            figures, intervals = run["figures"] or {}, run["intervals"] or {}
            values = [figures.get(name) for name in FIGURES]
            values += [bound for name in FIGURES for bound in intervals.get(name, [None, None])]
            values += [run["parameters"], run["seconds"], row["table"], *row["reported"].values(), row["problem"]]
            rows.append([row["name"], run["seed"], row["label"], *values])
    return Table([*columns, "table", "reported_i2t_r1", "reported_t2i_r1", "problem"], rows).to_csv()
