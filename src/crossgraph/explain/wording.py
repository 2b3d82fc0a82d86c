"""What the numbers of an alignment mean, in words: for the table, the figure and the documentation alike."""

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
class Strongest:
    """The region that a word gave most of its attention.

    Attributes:
        region: Its row.
        share: Of the word's attention.
        place: Where its middle lies, such as "upper left"; "region 17" where boxes are unknown; "anywhere" where
            all regions got the same.
    """

    region: int
    share: float
    place: str


def strongest_region(alignment: Alignment, row: int) -> Strongest:
    """Find the region that token `row` gave most of its attention."""
    given = alignment.weights[row]
    region = int(given.argmax())
    if len(given) > 1 and np.allclose(given, given[region], rtol=1e-4):
        return Strongest(region, float(given[region]), "anywhere")
    box = None if alignment.boxes is None else alignment.boxes[region]
    place = f"region {region}" if box is None else place_of(box)
    return Strongest(region, float(alignment.weights[row, region]), place)


def place_of(box: Float[np.ndarray, "4"]) -> str:
    """Name the ninth of the picture in which a box has its middle."""
    x, y = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    row, column = (names[min(2, max(0, int(3 * at)))] for names, at in ((_ROWS, y), (_COLUMNS, x)))
    return "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"


def significance_of(alignment: Alignment) -> str:
    """Say what the significance of an alignment is."""
    if alignment.model == "sgr" and not has_global_node(alignment):
        return "SGR's edges in the last reasoning step, averaged over the nodes"
    return _SIGNIFICANCE.get(alignment.model, f"{alignment.model}'s own measure of how much a word counted")


def has_global_node(alignment: Alignment) -> bool:
    """Tell whether the comparison of the whole picture with the whole sentence counted too."""
    return alignment.global_significance > 1e-4


def score_meaning(model: str) -> str:
    """Say what a model's score is, and what it is not."""
    return SCORE_MEANING if model in _FROM_0_TO_1 else _OTHER_SCORE


def shown_token(token: AlignedToken) -> str:
    """Return a token as it is labelled: its text, marked where the vocabulary lacks it."""
    return token.text if token.known else f"{token.text} (unknown)"


def percent(share: float) -> str:
    """Return a share of 1 in percent: "20 %", "7.3 %", "0.2 %"."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def table(alignment: Alignment) -> list[str]:
    """Return an alignment as lines of text: a row a word, and the score with its meaning."""
    rows = [("word", "counted", "looked most at")]
    for row, token in enumerate(alignment.tokens):
        found = strongest_region(alignment, row)
        looked = f"{found.place}, {percent(found.share)}"
        rows.append((shown_token(token), percent(float(alignment.significance[row])), "" if token.special else looked))
    if has_global_node(alignment):
        rows.append((GLOBAL_NODE, percent(alignment.global_significance), "whole picture with whole sentence"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{word:<{widths[0]}}  {share:>{widths[1]}}  {looked}".rstrip() for word, share, looked in rows]
    return [
        *lines,
        "",
        f"counted: {significance_of(alignment)}; all sum to 100 %",
        "looked most at: the strongest region and its share of the word's attention",
        f"score {alignment.score:.3f}. {score_meaning(alignment.model)}",
    ]
