"""Puts an alignment into words: positions of regions, what significance and score mean, and a table of text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crossgraph.pipeline import AlignedToken, Alignment

GLOBAL_NODE = "global node"
SCORE_MEANING = "A similarity from 0 to 1, not a probability; compare it only with this model's other scores."
_OTHER_SCORE = "A similarity, not a probability; compare it only with this model's other scores."
_SIGNIFICANCE = {
    "saf": "SAF's filtration weights",
    "sgr": "SGR's edges from the global node, last reasoning step",
    "hsc": "the filtration's weights, as SAF's",
    "tshsr": "who the global node and the context looked at, on all levels of both streams",
    "cgmn": "each word's part of CGMN's node score, which trains the vectors that are scored",
    "gpo": "each word's part of the dot product, those that lower it left out",
    "vsepp": "what reading the word added to the dot product, losses left out",
    "vsrn": "what reading the word added to the dot product, losses left out",
}
_FROM_0_TO_1 = ("saf", "sgr", "hsc", "tshsr", "sgraf-joint")
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


@dataclass(frozen=True)
class StrongestRegion:
    """The region that a word gave most of its attention.

    Attributes:
        region: Its row.
        share: Of the word's attention.
        position: Where its middle lies, such as "upper left"; "region 17" where boxes are unknown; "anywhere" where
            all regions got the same.
    """

    region: int
    share: float
    position: str


def strongest_region(alignment: Alignment, row: int) -> StrongestRegion:
    """Return the region that token `row` gave most of its attention."""
    weights = alignment.weights[row]
    region = int(weights.argmax())
    if len(weights) > 1 and np.allclose(weights, weights[region], rtol=1e-4):
        position = "anywhere"
    else:
        position = f"region {region}" if alignment.boxes is None else position_name(alignment.boxes[region])
    return StrongestRegion(region, float(weights[region]), position)


def position_name(box: Float[np.ndarray, "4"]) -> str:
    """Return the name of the ninth of the picture that holds the middle of a box."""
    x, y = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    row, column = (names[min(2, max(0, int(3 * at)))] for names, at in ((_ROWS, y), (_COLUMNS, x)))
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def significance_meaning(alignment: Alignment) -> str:
    """Return what the significance of an alignment is, in words."""
    if alignment.model == "sgr" and not has_global_node(alignment):
        return "SGR's edges in the last reasoning step, averaged over the nodes"
    return _SIGNIFICANCE.get(alignment.model, f"{alignment.model}'s own measure of how much a word counted")


def has_global_node(alignment: Alignment) -> bool:
    """Return whether the comparison of the whole picture with the whole sentence counted too."""
    return alignment.global_significance > 1e-4


def score_meaning(model: str) -> str:
    """Return what a model's score is, and what it is not, in words."""
    return SCORE_MEANING if model in _FROM_0_TO_1 else _OTHER_SCORE


def token_label(token: AlignedToken) -> str:
    """Return a token's text, marked where the vocabulary lacks it."""
    return token.text if token.known else f"{token.text} (unknown)"


def percent(share: float) -> str:
    """Return a share of 1 in percent: "20 %", "7.3 %", "0.2 %"."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def alignment_lines(alignment: Alignment) -> list[str]:
    """Return an alignment as lines of text: a row a word, and the score with its meaning."""
    rows = [("word", "counted", "looked most at")]
    for row, token in enumerate(alignment.tokens):
        region = strongest_region(alignment, row)
        looked = "" if token.special else f"{region.position}, {percent(region.share)}"
        rows.append((token_label(token), percent(float(alignment.significance[row])), looked))
    if has_global_node(alignment):
        rows.append((GLOBAL_NODE, percent(alignment.global_significance), "whole picture with whole sentence"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{word:<{widths[0]}}  {share:>{widths[1]}}  {looked}".rstrip() for word, share, looked in rows]
    return [
        *lines,
        "",
        f"counted: {significance_meaning(alignment)}; all sum to 100 %",
        "looked most at: the strongest region and its share of the word's attention",
        f"score {alignment.score:.3f}. {score_meaning(alignment.model)}",
    ]
