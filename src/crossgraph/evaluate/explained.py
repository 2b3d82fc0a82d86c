"""Markdown of a card's measures of explanations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crossgraph.tables import Table

_PLAYERS = ("model", "centre", "uniform", "model - centre", "model - uniform")
_ASKED = {"pointing": "pointing game", "energy": "energy in the box"}
_TESTS = {"deletion": "hidden first", "insertion": "shown first"}


def explained(found: dict[str, Any]) -> list[str]:
    """Return the paragraphs of a card's entry "explanations", see `crossgraph.explain.measures.card_entry`."""
    if "absent" in found:
        return [f"**Explanations:** not measured: {found['absent']}."]
    models: list[dict[str, Any]] = found["models"]
    sample, parts = found["sample"], ["## Explanations"]
    pointing: list[list[str]] = []
    hiding: list[list[str]] = []
    absent: list[str] = []
    for entry in models:
        who = f"{entry['run']}: " if len(models) > 1 else ""
        if "absent" in entry:
            absent.append(f"{who}{entry['absent']}")
            continue
        pointing += _pointing_rows(entry["pointing"], who)
        hiding += [row for what in ("regions", "words") for row in _hiding_rows(entry[what], f"{who}{what}")]
        absent += [
            f"{who}{name}: {entry[key]['absent']}"
            for key, name in (("pointing", "pointing game"), ("regions", "regions"), ("words", "words"))
            if "absent" in entry[key]
        ]
    if pointing:
        unknown = max(entry.get("pointing", {}).get("unknown", 0) for entry in models)
        columns = ["in %", "pairs", *(player.replace(" - ", " − ") for player in _PLAYERS)]
        parts += [Table(columns, pointing).to_markdown(), _POINTING + _UNKNOWN.format(unknown) * (unknown > 0)]
    if hiding:
        columns = ["score", "pairs", "as said", "at random", "gain", "said beats random, %"]
        parts += [Table(columns, hiding).to_markdown(), _HIDING.format(**sample)]
    parts += [f"**Not measured:** {line}." for line in absent]
    if not sample["thorough"]:
        parts.append(f"A small sample (seed {sample['seed']}); `crossgraph evaluate RUN --explanations` measures more.")
    return parts


_POINTING = (
    "Of words that name a boxed thing: how often the strongest region's centre lies in its box, and the share of the "
    "weight inside. Centre and uniform know no word. Intervals: images resampled, differences paired."
)
_UNKNOWN = " {:,} such words were left out, for the vocabulary lacks them."
_HIDING = (
    "Mean score of matched pairs while regions, or words, are hidden one after another, or shown, in the order that "
    "the model says against {orders} random orders, in {steps} steps; gain is how much lower (hidden) or higher "
    "(shown) the said order's curve lies."
)


def _pointing_rows(found: dict[str, Any], who: str) -> Iterator[list[str]]:
    if "absent" not in found:
        for key, name in _ASKED.items():
            yield [f"{who}{name}", f"{found['pairs']:,}", *(_figure(found[key][player], 1) for player in _PLAYERS)]


def _hiding_rows(found: dict[str, Any], what: str) -> Iterator[list[str]]:
    if "absent" not in found:
        for key, name in _TESTS.items():
            test = found[key]
            heights = [f"{test[order]:.3f}" for order in ("said", "random")]
            yield [
                f"{what} {name}",
                f"{found['pairs']:,}",
                *heights,
                _figure(test["gain"], 3),
                _figure(test["beats_random"], 0),
            ]


def _figure(found: dict[str, Any], digits: int) -> str:
    low, high = found["interval"]
    return f"{found['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
