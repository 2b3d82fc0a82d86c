"""Markdown tables from cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossgraph.evaluate.explained import explained
from crossgraph.tables import Table

_MAIN = [f"{direction} R@{cutoff}" for direction in ("i2t", "t2i") for cutoff in (1, 5, 10)] + ["rSum"]
_MORE = [
    "i2t recall@1",
    "i2t recall@5",
    "i2t recall@10",
    "i2t mAP@R",
    "i2t medR",
    "i2t meanR",
    "t2i mAP@R",
    "t2i medR",
    "t2i meanR",
]


def markdown(card: dict[str, Any]) -> str:
    """Return a card as Markdown: figures with intervals, then data, models and notes.

    Args:
        card: As `crossgraph.evaluate.card.build_card` gives it, or read back from `card.json`.
    """
    results = card["results"]
    galleries = [results["whole"], *results["slices"], *([results["slice_mean"]] if results["slice_mean"] else [])]
    bounds = card["protocol"]["intervals"]
    interval = f"{bounds['level']:.0f} % interval"
    parts = [
        f"# {card['title']}: {card['data']['split']} split",
        _about(card),
        _main_table(galleries, interval),
        " ".join(
            [
                "R@K: share of queries, in %, with a right answer among the first K (a hit rate).",
                _TIES[card["protocol"]["ties"]],
                f"Intervals: {bounds['resamples']:,} bootstrap resamples of the images.",
            ]
        ),
        Table(
            ["gallery", *_MORE], [[results["gallery"], *_cells(results, _MORE)] for results in galleries]
        ).to_markdown(),
        "recall@K: mean share of a query's right answers among the first K, in %; mAP@R in %.",
        *(benchmarks(card["coco"]) if "coco" in card else []),
        *(explained(card["explanations"]) if "explanations" in card else []),
        *(f"**{kind}:** {text}" for kind, text in remarks(card)),
        _origin(card),
    ]
    return "\n\n".join(parts) + "\n"


def remarks(card: dict[str, Any]) -> list[tuple[str, str]]:
    """Return ("Warning" or "Note", text) pairs of a card."""
    return [("Warning", text) for text in card["warnings"]] + [("Note", text) for text in card["notes"]]


def compare(cards: Sequence[dict[str, Any]], gallery: str = "whole") -> str:
    """Return one Markdown table with a row for each card.

    Args:
        cards: Read from `card.json`.
        gallery: "whole" or "slice_mean"; cards without it are left out.
    """
    rows: list[list[str]] = []
    for card in cards:
        results = card["results"].get(gallery)
        if results:
            cells = [card["title"], str(card["models"]["count"]), card["data"]["split"], results["gallery"]]
            rows.append([*cells, *(f"{results['figures'][name]:.1f} ({_bounds(results, name)})" for name in _MAIN)])
    return Table(["model", "models", "split", "gallery", *_MAIN], rows, text_columns=4).to_markdown() + "\n"


_RECALLS = ("R@1", "R@5", "R@10")
_TIES = {
    "expected": "Equal scores count with the probability of a hit in random order.",
    "worst": "Equal scores count as if every wrong answer came first.",
}


def _about(card: dict[str, Any]) -> str:
    data, count = card["data"], card["models"]["count"]
    models = "One model." if count == 1 else f"An ensemble of {count} models: the mean of their score matrices."
    return (
        f"{data['source'] or data['folder']}: {data['images']:,} images, {data['captions']:,} captions, "
        f"features {data['regions']} × {data['feature_size']:,} ({data['region_encoder']}). {models}"
    )


def _main_table(galleries: Sequence[dict[str, Any]], interval: str) -> str:
    """Return the table of R@K and rSum, with intervals for the whole gallery and the slices' mean."""
    rows: list[list[str]] = []
    for number, results in enumerate(galleries):
        rows.append([results["gallery"], *_cells(results, _MAIN)])
        if number in (0, len(galleries) - 1):
            rows.append([interval, *(_bounds(results, name) for name in _MAIN)])
    return Table(["gallery", *_MAIN], rows).to_markdown()


def benchmarks(found: dict[str, Any]) -> list[str]:
    """Return the table of ECCV Caption and CxC, or the reason why there is none."""
    if "absent" in found:
        return [f"**ECCV Caption and CxC:** absent: {found['absent']}."]
    parts = ["## COCO as others judge it"]
    for names, figures in ((("ECCV Caption",), ("mAP@R", "R-P", "R@1")), (("CxC", "COCO 5K", "COCO 1K"), _RECALLS)):
        head = [f"{direction} {figure}" for direction in ("i2t", "t2i") for figure in figures]
        rows: list[list[str]] = []
        for name in names:
            entries = [found["figures"][f"{name} {column}"] for column in head]
            rows.append([name, *(f"{entry['value']:.1f}" for entry in entries)])
            rows.append(["95 % interval", *("–".join(f"{bound:.1f}" for bound in e["interval"]) for e in entries)])
        parts.append(Table(["in %", *head], rows).to_markdown())
    asked = "; ".join(f"{name}: {q['i2t']:,} images, {q['t2i']:,} captions" for name, q in found["queries"].items())
    return [*parts, f"Queries: {asked}. COCO 1K: mean of five consecutive slices. Judgements: {found['package']}."]


def _origin(card: dict[str, Any]) -> str:
    commit, plus, changes = card["git_revision"].partition("+")
    revision = f" ({commit[:12]}{plus}{changes})" if commit else ""
    versions = f"crossgraph {card['versions']['crossgraph']}{revision}, PyTorch {card['versions']['torch']}"
    return f"`{card['command']}`\n\nData {card['data']['fingerprint'][:12]}, {versions}, {card['when']}."


def _cells(results: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [f"{results['figures'][name]:.1f}" for name in names]


def _bounds(results: dict[str, Any], name: str) -> str:
    low, high = results["intervals"][name]
    return f"{low:.1f}–{high:.1f}"
