"""The measures of a run's explanations, as a card keeps them.

A card's entry "explanations" is {"absent": WHY}, or

    {"format_version": 1,
     "sample": {"thorough": bool, "seed", "captions": wanted or null for all, "pairs", "steps", "orders"},
     "boxes": {"absent": WHY} or {"source": file's name, "kind": "scenes" or "coco", "boxes": count},
     "intervals": {"level": 95, "method", "resamples"},
     "models": [MODEL, ...]}                        one entry a run, in the runs' order: an ensemble has several

    MODEL    {"run", "model", "seconds", "pointing": POINTING, "regions": HIDING, "words": HIDING},
             or {"run", "model", "absent": WHY}
    POINTING {"absent": WHY} or
             {"pairs": (word, picture) pairs, "images", "unknown": words left out, for the vocabulary lacks them,
              "words": [{"thing", "pairs", "hit": %, "energy": %}, ...] the most frequent ten,
              "pointing": PLAYERS, "energy": PLAYERS}
    PLAYERS  {"model": FIGURE, "centre": FIGURE, "uniform": FIGURE,            in %
              "model - centre": FIGURE, "model - uniform": FIGURE}
    HIDING   {"absent": WHY} or
             {"pairs", "images", "score": mean score of the untouched pairs,
              "deletion": TEST, "insertion": TEST}
    TEST     {"said": mean height of the curve along the model's order, "random": along random orders,
              "gain": FIGURE, how much faster the score falls (random - said) or rises (said - random),
              "beats_random": FIGURE, % of the pairs whose said order does better than the random ones' mean,
              "curve": {"share": 11 shares hidden (deletion) or shown (insertion), "said": [...], "random": [...]}}
    FIGURE   {"value", "interval": [low, high]}
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from crossgraph.bootstrap import LEVEL, RESAMPLES, Estimate, estimate
from crossgraph.core.types import Attention, ImageCode, Regions
from crossgraph.data.split import Split
from crossgraph.explain.boxes import BoxedThings, Boxes
from crossgraph.explain.deletion import Fall, height, hide_regions, hide_words
from crossgraph.explain.naming import Named
from crossgraph.explain.pointing import PLAYERS, Pointed, point
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, inference
from crossgraph.text.packing import collate
from crossgraph.text.vocabulary import UNKNOWN, EncodedCaption

FORMAT_VERSION = 1
NO_BOXES = "no boxes: neither objects.json nor instances*.json lies beside the captions, and --boxes names no file"
SHARES = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        thorough: Whether it was asked for, or is a card's small sample.
        captions: Captions whose boxed words point; None for all of them.
        pairs: Matched pairs whose regions and words are hidden, at most.
        steps: Of hiding.
        orders: Random orders a pair.
        seed: Of everything that is drawn.
    """

    thorough: bool
    captions: int | None
    pairs: int
    steps: int
    orders: int
    seed: int = 0


SAMPLE = Extent(False, captions=100, pairs=40, steps=5, orders=3)
THOROUGH = Extent(True, captions=None, pairs=1000, steps=10, orders=5)


@dataclass(frozen=True)
class _Pair:
    """A caption with the picture it describes."""

    image: int
    caption: int
    words: tuple[tuple[Named, Boxes], ...] = ()


def measure(
    runs: Sequence[Run],
    split: Split,
    things: BoxedThings | str,
    extent: Extent = SAMPLE,
    device: torch.device | None = None,
    report: Callable[[str], ProgressCallback] | None = None,
) -> dict[str, Any]:
    """Measure the explanations of some runs on a split: a card's entry, see the module's docstring.

    Args:
        runs: Each by itself; that they fit the split has been checked.
        split: Pictures and captions; the captions' own pictures are the matched pairs.
        things: Boxes of named things, or why there are none.
        extent: How much.
        device: Where the models run; where they are by default.
        report: Makes, for a task's name, what hears how far it is.
    """
    pointing = _boxed_pairs(split, things, extent) if isinstance(things, BoxedThings) else []
    hiding = _some_pairs(split, extent)
    entries: list[dict[str, Any]] = []
    for run in runs:
        home = device_of(run.model)
        run.model.to(device or home)
        told = report(f"explanations of {run.path}") if report is not None else _silent
        begun = time.monotonic()
        entry: dict[str, Any] = {"run": str(run.path), "model": run.info.model}
        try:
            entry["pointing"] = _pointing(run, split, things, pointing, extent, told)
            entry |= _hiding(run, split, hiding, extent, told)
            entry["seconds"] = round(time.monotonic() - begun, 3)
        except NotImplementedError:
            entry = {"run": str(run.path), "model": run.info.model, "absent": "this model tells no alignment"}
        finally:
            run.model.to(home)
        entries.append(entry)
    if isinstance(things, BoxedThings):
        source = {"source": things.source.name, "kind": things.kind, "boxes": things.count}
    else:
        source = {"absent": things}
    return {
        "format_version": FORMAT_VERSION,
        "sample": asdict(extent),
        "boxes": source,
        "intervals": {
            "level": LEVEL,
            "method": "percentile bootstrap, clustered by image",
            "resamples": RESAMPLES,
        },
        "models": entries,
    }


def _boxed_pairs(split: Split, things: BoxedThings, extent: Extent) -> list[_Pair]:
    """Find captions that name something boxed in their picture, in random order, until there are enough."""
    boxes = things.of(split.image_ids)
    found: list[_Pair] = []
    rows: list[int] = np.random.default_rng(extent.seed).permutation(len(split.captions)).tolist()
    for row in rows:
        image = int(split.caption_image[row])
        if boxes[image]:
            named = things.named_in(split.captions[row])
            words = tuple((word, boxes[image][word.thing]) for word in named if word.thing in boxes[image])
            if words:
                found.append(_Pair(image, row, words))
        if len(found) == extent.captions:
            break
    return sorted(found, key=lambda pair: (pair.image, pair.caption))


def _some_pairs(split: Split, extent: Extent) -> list[_Pair]:
    """Draw matched pairs, a caption of each picture before a second of any."""
    order = np.random.default_rng(extent.seed).permutation(len(split.captions))
    turn: Counter[int] = Counter()
    drawn: list[tuple[int, int]] = []
    for place, row in enumerate(order.tolist()):
        image = int(split.caption_image[row])
        drawn.append((turn[image], place))
        turn[image] += 1
    rows = [int(order[place]) for _, place in sorted(drawn)[: extent.pairs]]
    return sorted((_Pair(int(split.caption_image[row]), row) for row in rows), key=lambda p: (p.image, p.caption))


def _pointing(
    run: Run, split: Split, things: BoxedThings | str, pairs: Sequence[_Pair], extent: Extent, report: ProgressCallback
) -> dict[str, Any]:
    if isinstance(things, str):
        return {"absent": things}
    if not pairs:
        return {"absent": f"{things.source.name} boxes nothing that a caption of this split names"}
    found: list[tuple[int, str, Pointed]] = []
    unknown = done = 0
    row_of_unknown = run.vocabulary.row(UNKNOWN)
    for image, own in _by_image(pairs).items():
        regions = split.features.read([image])
        if regions.boxes is None:
            return {"absent": "the features say nothing of where their regions are"}
        real = regions.mask[0].numpy()
        places = regions.boxes[0].numpy().astype(np.float64)[real]
        code = _encode(run, regions)
        for pair in own:
            caption = run.vocabulary.encode(split.captions[pair.caption])
            weights = _numpy(_align(run, code, caption).weights)[:, real]
            for word, boxes in pair.words:
                tokens = [
                    t for t, (start, end) in enumerate(caption.offsets) if max(start, word.start) < min(end, word.end)
                ]
                if not tokens or all(caption.ids[t] == row_of_unknown for t in tokens):
                    unknown += 1
                    continue
                found.append((image, word.thing, point(weights[tokens].mean(axis=0), places, boxes)))
            done += 1
            report("captions with boxed words", done, len(pairs))
    if not found:
        return {"absent": f"the vocabulary knows none of the {unknown} words that name something boxed"}
    return {
        "pairs": len(found),
        "images": len({image for image, _, _ in found}),
        "unknown": unknown,
        "words": _by_thing(found),
        "pointing": _players([one.hit for _, _, one in found], [image for image, _, _ in found], extent.seed),
        "energy": _players([one.energy for _, _, one in found], [image for image, _, _ in found], extent.seed),
    }


def _by_thing(found: Sequence[tuple[int, str, Pointed]]) -> list[dict[str, Any]]:
    things: dict[str, list[Pointed]] = defaultdict(list)
    for _, thing, one in found:
        things[thing].append(one)
    often = sorted(things.items(), key=lambda item: (-len(item[1]), item[0]))[:10]
    return [
        {
            "thing": thing,
            "pairs": len(some),
            "hit": 100 * float(np.mean([one.hit["model"] for one in some])),
            "energy": 100 * float(np.mean([one.energy["model"] for one in some])),
        }
        for thing, some in often
    ]


def _players(outcomes: Sequence[Mapping[str, float]], images: Sequence[int], seed: int) -> dict[str, Any]:
    values = 100 * np.array([[outcome[player] for player in PLAYERS] for outcome in outcomes])
    columns = np.column_stack([values, values[:, :1] - values[:, 1:]])
    names = [*PLAYERS, *(f"{PLAYERS[0]} - {player}" for player in PLAYERS[1:])]
    return {name: _figure(e) for name, e in zip(names, estimate(columns, np.array(images), seed), strict=True)}


def _hiding(run: Run, split: Split, pairs: Sequence[_Pair], extent: Extent, report: ProgressCallback) -> dict[str, Any]:
    falls: dict[Literal["regions", "words"], list[tuple[int, Fall]]] = {"regions": [], "words": []}
    silent = 0
    for number, pair in enumerate(pairs):
        regions = split.features.read([pair.image])
        sentence = split.captions[pair.caption]
        caption = run.vocabulary.encode(sentence)
        random = np.random.default_rng([extent.seed, pair.caption])
        told = _align(run, _encode(run, regions), caption)
        words = _numpy(told.significance)
        real = regions.mask[0].numpy()
        heard = words if words.any() else np.ones_like(words)
        seen = heard @ _numpy(told.weights)[:, real]
        fall = hide_regions(run, regions, caption, seen, extent.steps, extent.orders, random)
        if fall is not None:
            falls["regions"].append((pair.image, fall))
        silent += not words.any()
        fall = hide_words(run, regions, sentence, words, extent.steps, extent.orders, random) if words.any() else None
        if fall is not None:
            falls["words"].append((pair.image, fall))
        report("pairs with parts hidden", number + 1, len(pairs))
    why = {
        "regions": "no picture has more than one region",
        "words": "this model gives words no significance" if silent else "no caption has more than one word",
    }
    return {what: _falls(some, extent.seed) if some else {"absent": why[what]} for what, some in falls.items()}


def _falls(found: Sequence[tuple[int, Fall]], seed: int) -> dict[str, Any]:
    images = np.array([image for image, _ in found])
    falls = [fall for _, fall in found]
    return {
        "pairs": len(falls),
        "images": len(np.unique(images)),
        "score": float(np.mean([fall.whole for fall in falls])),
        "deletion": _test(
            [(fall.hidden, fall.deletion, fall.random_deletion) for fall in falls], images, sign=-1, seed=seed
        ),
        "insertion": _test(
            [(fall.shown, fall.insertion, fall.random_insertion) for fall in falls], images, sign=1, seed=seed
        ),
    }


_Curve = Float[np.ndarray, "..."]


def _test(
    curves: Sequence[tuple[_Curve, _Curve, _Curve]], images: np.ndarray, sign: Literal[-1, 1], seed: int
) -> dict[str, Any]:
    heights = np.array([[height(share, said), height(share, random)] for share, said, random in curves])
    gain = sign * (heights[:, 0] - heights[:, 1])
    beats = 100.0 * ((gain > 0) + 0.5 * (gain == 0))
    gained, won = estimate(np.column_stack([gain, beats]), images, seed)
    said, random = (
        np.mean([np.interp(SHARES, curve[0], curve[which]) for curve in curves], axis=0) for which in (1, 2)
    )
    return {
        "said": float(heights[:, 0].mean()),
        "random": float(heights[:, 1].mean()),
        "gain": _figure(gained),
        "beats_random": _figure(won),
        "curve": {"share": SHARES.round(1).tolist(), "said": said.tolist(), "random": random.tolist()},
    }


def _encode(run: Run, regions: Regions) -> ImageCode:
    with inference(run.model):
        return run.model.encode_images(regions.to(device_of(run.model)))


def _align(run: Run, image: ImageCode, caption: EncodedCaption) -> Attention:
    with inference(run.model):
        text = run.model.encode_texts(collate([caption]).to(device_of(run.model)))
        return run.model.align(image, text)


def _by_image(pairs: Sequence[_Pair]) -> dict[int, list[_Pair]]:
    found: dict[int, list[_Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.image].append(pair)
    return found


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy().astype(np.float64)


def _figure(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "interval": found.interval}


def _silent(what: str, done: int, total: int) -> None:
    """Hear, and say nothing."""
