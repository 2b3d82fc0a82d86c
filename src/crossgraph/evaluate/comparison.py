"""Markdown of a comparison of two systems."""

from __future__ import annotations

from crossgraph.evaluate.paired import Change, Comparison
from crossgraph.tables import Table

_READ = (
    "R@K in %. Intervals: 1,000 paired bootstrap resamples of the images, the same for A and B. A figure is "
    "undecided where its interval holds 0; where nothing differs, one figure in twenty excludes 0 by chance. The "
    "variance of training is not in the intervals."
)


def comparison_markdown(found: Comparison, about: str = "") -> str:
    """Return the differences, then the queries that changed most.

    Args:
        found: The comparison.
        about: What both were asked of, one line; may be empty.
    """
    asked = f"{found.queries['i2t']:,} i2t and {found.queries['t2i']:,} t2i queries of {found.images:,} images."
    rows = [
        [
            difference.name,
            f"{difference.a:.1f}",
            f"{difference.b:.1f}",
            _signed(difference.value),
            f"{_signed(difference.low)} to {_signed(difference.high)}",
            difference.verdict,
        ]
        for difference in found.differences
    ]
    parts = [
        f"# A: {found.a}, B: {found.b}",
        f"{about} {asked}".strip(),
        Table(["figure", "A", "B", "B − A", "95 % interval", ""], rows).to_markdown(),
        _READ,
    ]
    for direction, changes in found.changes.items():
        counts = f"{direction}: B ranks {found.better[direction]:,} queries better, {found.worse[direction]:,} worse"
        if changes:
            parts += [f"{counts}. Changed most, by the factor between the ranks:", _changed(changes)]
        else:
            parts.append(f"{counts}.")
    return "\n\n".join(parts) + "\n"


def _changed(changes: list[Change]) -> str:
    rows: list[list[str]] = []
    for change in changes:
        text = "" if change.text == change.query else " ".join(change.text.split())
        rows.append([change.query, text[:80] + "…" * (len(text) > 80), f"{change.a:g}", f"{change.b:g}"])
    if not any(row[1] for row in rows):
        return Table(["query", "rank in A", "rank in B"], [[row[0], *row[2:]] for row in rows]).to_markdown()
    return Table(["query", "caption", "rank in A", "rank in B"], rows, text_columns=2).to_markdown()


def _signed(value: float) -> str:
    rounded = round(value, 1) + 0.0  # no "−0.0"
    return f"{rounded:+.1f}" if rounded else "0.0"
