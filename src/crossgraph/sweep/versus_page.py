"""Writes the page of `crossgraph versus`, from kept cards and comparisons and from nothing else.

It is written between two comment lines, so that it can be a part of a page that people write.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.files import read_text, write_text
from crossgraph.sweep.cards import MISSING, Card, PageContent, about_model, parameters, rsum, rsum_with_interval
from crossgraph.tables import Table

DEV = "dev"
BEGIN = "<!-- crossgraph versus: begin; what stands from here to the end line is written by the program -->"
END = "<!-- crossgraph versus: end -->"
_FIGURES = {"R@1 image→text": "i2t R@1", "R@1 text→image": "t2i R@1", "rSum": "rSum"}


def check_page(path: Path) -> None:
    """Check that a page of somebody's own has the begin and end lines.

    Raises:
        InputError: It lacks them, or cannot be read.
    """
    if path.exists():
        _around(path)


def write(page: PageContent, path: Path) -> str:
    """Write a page, or its part of one, and return it."""
    text = markdown(page)
    before, after = _around(path) if path.exists() else ("", "")
    write_text(path, f"{before}{BEGIN}\n\n{text}\n{END}\n{after}")
    return text


def markdown(page: PageContent) -> str:
    """Return the page as Markdown, headings from level 2."""
    parts = [f"## {page.sweep.title}", _introduction(page), "### Chosen on dev", _on_dev(page), _choice(page)]
    for split in page.splits:
        parts += [f"### Measured on {split}", _measured(page, split), _outcome(page, split)]
    return "\n\n".join([*parts, _READ]) + "\n"


def _around(path: Path) -> tuple[str, str]:
    before, begin, rest = read_text(path).partition(BEGIN)
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        raise InputError(
            f"{path}: was not written by 'crossgraph versus', and has no place for it",
            f"give another --page, or put these two lines where it belongs: {BEGIN} and {END}",
        )
    return before, after


def _introduction(page: PageContent) -> str:
    first = page.sweep.seeds[0]
    variants = [variant for variant in page.sweep.variants if variant.name != page.sweep.baseline]
    statuses = {about_model(page.planned[variant.name, first])["status"] for variant in variants} - {"implemented"}
    cautions = f" Of the variants mind: {', '.join(sorted(statuses))}." if statuses else ""
    return (
        f"Made by `crossgraph versus` from cards; nothing here is typed by hand. {len(variants)} variants, listed "
        f"before any was trained, and the baseline `{page.sweep.baseline}`, all with one budget: {page.budget()}. Dev "
        f"chooses one variant, with seed {first}; that one and the baseline are then trained with every seed "
        f"({', '.join(map(str, page.sweep.seeds))}) and measured, once, on other splits. `?`: not there yet.{cautions}"
    )


def _on_dev(page: PageContent) -> str:
    head = ["variant", "what it is", "R@1 image→text", "R@1 text→image", "rSum (95 %)", "parameters", "a core's time"]
    rows: list[list[str]] = []
    for variant in page.sweep.variants:
        card = page.cards.get((variant.name, page.sweep.seeds[0], DEV))
        name = f"**{variant.name}** (chosen)" if variant.name == page.chosen else variant.name
        cells = [MISSING] * 5 if card is None else _dev_cells(card)
        rows.append([name, " ".join(variant.label.split()), *cells])
    return Table(head, rows, text_columns=2).to_markdown()


def _dev_cells(card: Card) -> list[str]:
    figures = card["results"]["whole"]["figures"]
    seconds = card["table"]["training_core_seconds"]
    duration = MISSING if seconds is None else f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    recalls = [f"{figures[name]:.1f}" for name in ("i2t R@1", "t2i R@1")]
    return [*recalls, rsum_with_interval(card), parameters(card), duration]


def _choice(page: PageContent) -> str:
    if not page.chosen:
        return "Not chosen yet."
    first, baseline = page.sweep.seeds[0], page.sweep.baseline
    difference = rsum(page.cards[page.chosen, first, DEV]) - rsum(page.cards[baseline, first, DEV])
    return (
        f"Dev chooses `{page.chosen}`: rSum {_signed(difference)} against `{baseline}`. Weights were chosen on dev "
        "too: its figures flatter all."
    )


def _measured(page: PageContent, split: str) -> str:
    baseline, chosen = page.sweep.baseline, page.chosen or "chosen"
    heads = [[f"{title}: {baseline}", chosen, "difference (95 %)"] for title in _FIGURES]
    rows: list[list[str]] = []
    comparison = page.comparisons.get(split)
    for seed in page.sweep.seeds:
        cells = _differences(comparison["seeds"][str(seed)]) if comparison else _figures_of_seed(page, seed, split)
        rows.append([str(seed), *cells])
    rows.append(["all", *(_differences(comparison["all"]) if comparison else [MISSING] * 9)])
    return Table(["seed", *(cell for head in heads for cell in head)], rows).to_markdown()


def _differences(comparison: Mapping[str, Any]) -> list[str]:
    cells: list[str] = []
    for name in _FIGURES.values():
        one = comparison["differences"][name]
        low, high = one["interval"]
        cells += [f"{one['a']:.1f}", f"{one['b']:.1f}"]
        cells.append(f"{_signed(one['difference'])} ({_signed(low)} to {_signed(high)})")
    return cells


def _figures_of_seed(page: PageContent, seed: int, split: str) -> list[str]:
    """Return the cells of a seed that is not compared yet."""
    cells: list[str] = []
    for figure in _FIGURES.values():
        for name in (page.sweep.baseline, page.chosen):
            card = page.cards.get((name, seed, split))
            cells.append(MISSING if card is None else f"{card['results']['whole']['figures'][figure]:.1f}")
        cells.append(MISSING)
    return cells


def _outcome(page: PageContent, split: str) -> str:
    """Return a sentence on which is better: by the interval of all seeds together, and how many seeds agree."""
    comparison = page.comparisons.get(split)
    if not comparison:
        return "Not compared yet."
    whole, baseline, chosen = comparison["all"]["differences"]["rSum"], page.sweep.baseline, page.chosen
    low, high = whole["interval"]
    by_seed = [seed["differences"]["rSum"]["difference"] for seed in comparison["seeds"].values()]
    above = sum(difference > 0 for difference in by_seed)
    spread = f", standard deviation {statistics.stdev(by_seed):.1f}" if len(by_seed) > 1 else ""
    seeds = f"{above} of {len(by_seed)} seeds have `{chosen}` above `{baseline}`{spread}"
    figures = f"rSum {_signed(whole['difference'])}, 95 % interval {_signed(low)} to {_signed(high)}; {seeds}"
    if low > 0:
        return f"On {split}, **`{chosen}` beats `{baseline}`**: {figures}."
    if high < 0:
        return f"On {split}, **`{chosen}` loses to `{baseline}`**: {figures}."
    return f"On {split}, **neither is shown to be better**: {figures}."


def _signed(value: float) -> str:
    rounded = round(value, 1) + 0.0
    return (f"{rounded:+.1f}" if rounded else "0.0").replace("-", "−")


_READ = (
    "R@1 in %; rSum: of R@1, 5, 10 both ways, at most 600. Brackets on dev: bootstrap intervals over the pictures "
    "asked about. Differences: the variant less the baseline, with paired intervals: 1,000 draws of pictures, the same "
    "for both; `all` is the mean over the seeds, every draw taking the same pictures of each seed. What further seeds "
    "would change is not in these intervals. A core's time: what the training took of all processors together."
)
