"""Whether what is said to matter matters: hide it, and see how fast the score falls.

*Deletion* (Petsiuk et al., BMVC 2018, there for pixels) hides regions, or words, in the order in which the model
says they matter, and takes the score of the matched pair at every step; *insertion* shows them in that order,
beginning with the first alone. An order that tells the truth makes the score fall faster than random orders do,
and rise faster. The curve's mean height over its steps is one number: the smaller for deletion, the better.

Regions are hidden through their mask, and the picture is encoded again, for its global vector pools over its
regions. Words are taken out of the sentence and the rest is encoded again. We take them out rather than write
`<unk>` there: where training saw every word, `<unk>` was never trained, and a vector that means nothing would be
put in the place of the word. What remains may be no good sentence, which is the price.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from crossgraph.core.types import Regions
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, inference
from crossgraph.text.packing import collate
from crossgraph.text.tokenizer import tokenize
from crossgraph.text.vocabulary import EncodedCaption


@dataclass(frozen=True)
class Fall:
    """One pair's scores while regions, or words, are hidden or shown.

    Attributes:
        hidden: What share is hidden at each step of deletion, from 0; read backwards, and from 1 down, what is
            shown at each step of insertion.
        deletion: Scores along the order that the model says.
        insertion: The same.
        random_deletion: Scores along random orders, their mean.
        random_insertion: The same.
        whole: Score of the untouched pair.
    """

    hidden: Float[np.ndarray, " step"]
    deletion: Float[np.ndarray, " step"]
    insertion: Float[np.ndarray, " step"]
    random_deletion: Float[np.ndarray, " step"]
    random_insertion: Float[np.ndarray, " step"]
    whole: float

    @property
    def shown(self) -> Float[np.ndarray, " step"]:
        """What share is shown at each step of insertion, up to 1."""
        return 1.0 - self.hidden[::-1]


@dataclass(frozen=True)
class Plan:
    """Which variants of one pair are scored.

    Attributes:
        kept: True where a part is shown; each variant once.
        place: Row of `kept` for each step of each order: the said one's deletion and insertion, the random ones'.
        hidden: How many parts are hidden at each step of deletion.
        orders: Random orders.
    """

    kept: Bool[np.ndarray, "variant part"]
    place: Int64[np.ndarray, " wanted"]
    hidden: Int64[np.ndarray, " step"]
    orders: int


def plan(importance: Float[np.ndarray, " part"], steps: int, orders: int, random: np.random.Generator) -> Plan:
    """Choose what is hidden when.

    Args:
        importance: How much each part is said to matter; equal ones are put in random order.
        steps: At most so many steps after the untouched pair; never are all parts hidden.
        orders: Random orders; a random order's deletion is, read backwards, one's insertion.
        random: Draws.
    """
    parts = len(importance)
    hidden = np.unique(np.linspace(0, parts - 1, min(steps, parts - 1) + 1).round().astype(np.int64))
    said = np.lexsort((random.permutation(parts), -importance))
    rows = [_without(said[:count], parts) for count in hidden]
    rows += [~_without(said[: parts - count], parts) for count in hidden]
    for _ in range(orders):
        order = random.permutation(parts)
        rows += [_without(order[:count], parts) for count in hidden]
    kept, place = np.unique(np.stack(rows), axis=0, return_inverse=True)
    return Plan(kept, place.reshape(-1).astype(np.int64), hidden, orders)


def read(plan: Plan, scores: Float[np.ndarray, " variant"]) -> Fall:
    """Take the scores of a plan's variants apart."""
    steps, parts = len(plan.hidden), plan.kept.shape[1]
    curves = scores[plan.place].reshape(2 + plan.orders, steps)
    random = curves[2:].mean(axis=0)
    return Fall(
        hidden=plan.hidden / parts,
        deletion=curves[0],
        insertion=curves[1][::-1],
        random_deletion=random,
        random_insertion=random[::-1],
        whole=float(curves[0, 0]),
    )


def hide_regions(
    run: Run,
    regions: Regions,
    caption: EncodedCaption,
    importance: Float[np.ndarray, " region"],
    steps: int,
    orders: int,
    random: np.random.Generator,
) -> Fall | None:
    """Hide one picture's regions.

    Args:
        run: Its model scores, where it lies.
        regions: Of one picture.
        caption: A sentence that describes it.
        importance: How much each real region is said to matter.
        steps: See `plan`.
        orders: See `plan`.
        random: Draws.

    Returns:
        None for a picture of a single region.
    """
    real = np.flatnonzero(regions.mask[0].numpy())
    if len(real) < 2:
        return None
    made = plan(importance, steps, orders, random)
    mask = np.zeros((len(made.kept), regions.mask.shape[1]), dtype=bool)
    mask[:, real] = made.kept
    same = regions.map(lambda tensor: tensor.expand(len(mask), *tensor.shape[1:]))
    variants = Regions(same.features, torch.tensor(mask), same.boxes, same.extra)
    device = device_of(run.model)
    with inference(run.model):
        images = run.model.encode_images(variants.to(device))
        text = run.model.encode_texts(collate([caption]).to(device))
        scores = run.model.score_block(images, text)[:, 0]
    return read(made, scores.float().cpu().numpy().astype(np.float64))


def hide_words(
    run: Run,
    regions: Regions,
    caption: str,
    importance: Float[np.ndarray, " token"],
    steps: int,
    orders: int,
    random: np.random.Generator,
) -> Fall | None:
    """Hide one sentence's words; as `hide_regions`, with one value of `importance` a token.

    A word goes with all tokens it became, and counts as much as they do together. Tokens that stand for no word
    of the sentence (`<start>`, `<end>`) stay.

    Returns:
        None for a sentence of a single word.
    """
    encoded = run.vocabulary.encode(caption)
    words = words_of(caption, encoded)
    if len(words) < 2:
        return None
    made = plan(np.array([importance[tokens].sum() for tokens in words]), steps, orders, random)
    variants = [
        _shortened(encoded, {token for place in np.flatnonzero(~kept).tolist() for token in words[place]})
        for kept in made.kept
    ]
    device = device_of(run.model)
    with inference(run.model):
        image = run.model.encode_images(regions.to(device))
        texts = run.model.encode_texts(collate(variants).to(device))
        scores = run.model.score_block(image, texts)[0]
    return read(made, scores.float().cpu().numpy().astype(np.float64))


def words_of(caption: str, encoded: EncodedCaption) -> list[list[int]]:
    """Return the tokens of each word that a model reads of a caption."""
    starts = [word.start for word in tokenize(caption)]
    words: dict[int, list[int]] = {}
    for token, (start, end) in enumerate(encoded.offsets):
        if end > start:
            words.setdefault(bisect.bisect_right(starts, start), []).append(token)
    return list(words.values())


def height(share: Float[np.ndarray, " step"], scores: Float[np.ndarray, " step"]) -> float:
    """Return a curve's mean height: the area under it over the width of its steps."""
    return float((np.diff(share) * (scores[1:] + scores[:-1]) / 2).sum() / (share[-1] - share[0]))


def _without(hidden: Sequence[int] | Int64[np.ndarray, " some"], parts: int) -> Bool[np.ndarray, " part"]:
    kept = np.ones(parts, dtype=bool)
    kept[hidden] = False
    return kept


def _shortened(caption: EncodedCaption, hidden: set[int]) -> EncodedCaption:
    kept = [token for token in range(len(caption.ids)) if token not in hidden]
    ids, offsets = [caption.ids[token] for token in kept], [caption.offsets[token] for token in kept]
    if caption.parse is None:
        return EncodedCaption(ids, offsets, [])
    place = {token: row for row, token in enumerate(kept)}
    edges = [(place[head], place[other]) for head, other in caption.parse() if head in place and other in place]
    return EncodedCaption(ids, offsets, [], lambda: edges)
