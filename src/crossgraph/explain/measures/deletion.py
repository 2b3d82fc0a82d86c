"""Measures how fast a pair's score falls while the regions or words that the model calls important are hidden.

*Deletion* (Petsiuk et al., BMVC 2018, there for pixels) hides regions, or words, in the order in which the model
says they matter, and takes the score of the matched pair at every step; *insertion* shows them in that order,
beginning with the first alone. A truthful order makes the score fall faster than random orders do, and rise
faster. The curve's mean height over its steps is one number: the smaller for deletion, the better.

Regions are hidden through their mask, and the picture is encoded again, for its global vector pools over its
regions. Words are taken out of the sentence and the rest is encoded again. They are not replaced by `<unk>`: where
training saw every word, `<unk>` was never trained, and a meaningless vector would stand for the word. What remains
may be no good sentence, which is the price.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from crossgraph.core.types import ImageCode, Regions, TextCode
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, inference
from crossgraph.text.packing import collate
from crossgraph.text.tokenizer import tokenize
from crossgraph.text.vocabulary import EncodedCaption


@dataclass(frozen=True)
class HidingCurves:
    """One pair's scores while regions, or words, are hidden or shown.

    Attributes:
        hidden: Share hidden at each step of deletion, from 0. Read backwards, and subtracted from 1, it is the share
            shown at each step of insertion.
        deletion: Scores along the model's order.
        insertion: Scores along the model's order.
        random_deletion: Mean of the scores along random orders.
        random_insertion: Mean of the scores along random orders.
    """

    hidden: Float[np.ndarray, " step"]
    deletion: Float[np.ndarray, " step"]
    insertion: Float[np.ndarray, " step"]
    random_deletion: Float[np.ndarray, " step"]
    random_insertion: Float[np.ndarray, " step"]

    @property
    def shown(self) -> Float[np.ndarray, " step"]:
        """Return the share shown at each step of insertion, up to 1."""
        return 1.0 - self.hidden[::-1]


@dataclass(frozen=True)
class HidingPlan:
    """The variants of one pair that are scored.

    Attributes:
        shown: True where a part (region or word) is shown; each variant once.
        variant: Row of `shown` for each step of each order: the model's deletion and insertion, the random orders'.
        hidden: How many parts are hidden at each step of deletion.
    """

    shown: Bool[np.ndarray, "variant part"]
    variant: Int64[np.ndarray, "order step"]
    hidden: Int64[np.ndarray, " step"]

    def curves(self, scores: Float[np.ndarray, " variant"]) -> HidingCurves:
        """Return the curves that the variants' scores make."""
        deletion, insertion, *random_deletions = scores[self.variant]
        # Read backwards, a random order's deletion is another random order's insertion.
        random = np.mean(random_deletions, axis=0)
        return HidingCurves(self.hidden / self.shown.shape[1], deletion, insertion[::-1], random, random[::-1])


def plan_hiding(
    importance: Float[np.ndarray, " part"], steps: int, orders: int, random: np.random.Generator
) -> HidingPlan:
    """Choose which parts are hidden at each step.

    Args:
        importance: How much each part is said to matter; equal ones are put in random order.
        steps: At most so many after the unchanged pair; never are all parts hidden.
        orders: Random orders.
        random: Draws.
    """
    parts = len(importance)
    hidden = np.unique(np.linspace(0, parts - 1, min(steps, parts - 1) + 1).round().astype(np.int64))
    order = np.lexsort((random.permutation(parts), -importance))
    rows = [_all_but(order[:count], parts) for count in hidden]
    rows += [~_all_but(order[: parts - count], parts) for count in hidden]
    for _ in range(orders):
        order = random.permutation(parts)
        rows += [_all_but(order[:count], parts) for count in hidden]
    shown, variant = np.unique(np.stack(rows), axis=0, return_inverse=True)
    return HidingPlan(shown, variant.reshape(2 + orders, len(hidden)).astype(np.int64), hidden)


def hide_regions(
    run: Run,
    regions: Regions,
    caption: EncodedCaption,
    importance: Float[np.ndarray, " region"],
    steps: int,
    orders: int,
    random: np.random.Generator,
) -> HidingCurves | None:
    """Return the curves of one pair while its picture's regions are hidden; None for a picture of a single region.

    Args:
        run: Its model scores, on the device where it is.
        regions: Of one picture.
        caption: A sentence that describes it.
        importance: How much each real region is said to matter.
        steps: See `plan_hiding`.
        orders: See `plan_hiding`.
        random: Draws.
    """
    real = np.flatnonzero(regions.mask[0].numpy())
    if len(real) < 2:
        return None
    plan = plan_hiding(importance, steps, orders, random)
    mask = np.zeros((len(plan.shown), regions.mask.shape[1]), dtype=bool)
    mask[:, real] = plan.shown
    repeated = regions.map(lambda tensor: tensor.expand(len(mask), *tensor.shape[1:]))
    variants = Regions(repeated.features, torch.tensor(mask), repeated.boxes, repeated.extra)
    return plan.curves(_scores(run, encode_regions(run, variants), encode_captions(run, [caption]))[:, 0])


def hide_words(
    run: Run,
    regions: Regions,
    caption: str,
    importance: Float[np.ndarray, " token"],
    steps: int,
    orders: int,
    random: np.random.Generator,
) -> HidingCurves | None:
    """Return the curves of one pair while its sentence's words are hidden; None for a sentence of a single word.

    As `hide_regions`, with one value of `importance` a token. A word is hidden with all its tokens, and counts as
    much as they do together. Tokens that stand for no word of the sentence (`<start>`, `<end>`) stay.
    """
    encoded = run.vocabulary.encode(caption)
    words = tokens_by_word(caption, encoded)
    if len(words) < 2:
        return None
    plan = plan_hiding(np.array([importance[tokens].sum() for tokens in words]), steps, orders, random)
    variants = [
        _without(encoded, {token for word in np.flatnonzero(~shown).tolist() for token in words[word]})
        for shown in plan.shown
    ]
    return plan.curves(_scores(run, encode_regions(run, regions), encode_captions(run, variants))[0])


def tokens_by_word(caption: str, encoded: EncodedCaption) -> list[list[int]]:
    """Return the tokens of each word that a model reads of a caption."""
    starts = [word.start for word in tokenize(caption)]
    words: dict[int, list[int]] = {}
    for token, (start, end) in enumerate(encoded.offsets):
        if end > start:
            words.setdefault(bisect.bisect_right(starts, start), []).append(token)
    return list(words.values())


def mean_height(share: Float[np.ndarray, " step"], scores: Float[np.ndarray, " step"]) -> float:
    """Return a curve's mean height: the area under it over the width of its steps."""
    return float((np.diff(share) * (scores[1:] + scores[:-1]) / 2).sum() / (share[-1] - share[0]))


def encode_regions(run: Run, regions: Regions) -> ImageCode:
    """Return the codes of pictures, on the device where the model is."""
    with inference(run.model):
        return run.model.encode_images(regions.to(device_of(run.model)))


def encode_captions(run: Run, captions: Sequence[EncodedCaption]) -> TextCode:
    """Return the codes of captions, on the device where the model is."""
    with inference(run.model):
        return run.model.encode_texts(collate(captions).to(device_of(run.model)))


def _scores(run: Run, images: ImageCode, texts: TextCode) -> Float[np.ndarray, "img txt"]:
    with inference(run.model):
        return run.model.score_block(images, texts).float().cpu().numpy().astype(np.float64)


def _all_but(hidden: Int64[np.ndarray, " hidden"], parts: int) -> Bool[np.ndarray, " part"]:
    shown = np.ones(parts, dtype=bool)
    shown[hidden] = False
    return shown


def _without(caption: EncodedCaption, hidden: set[int]) -> EncodedCaption:
    """Return a caption without some tokens, and without the parse's edges at them."""
    shown = [token for token in range(len(caption.ids)) if token not in hidden]
    ids, offsets = [caption.ids[token] for token in shown], [caption.offsets[token] for token in shown]
    if caption.parse is None:
        return EncodedCaption(ids, offsets, [])
    row = {token: number for number, token in enumerate(shown)}
    edges = [(row[head], row[other]) for head, other in caption.parse() if head in row and other in row]
    return EncodedCaption(ids, offsets, [], lambda: edges)
