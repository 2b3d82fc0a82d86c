"""Measures the explanations of runs on a split: a card's entry "explanations".

The entry is {"absent": WHY}, or

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
from itertools import groupby
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from crossgraph.bootstrap import LEVEL, RESAMPLES, Estimate, estimate
from crossgraph.core.types import Attention, ImageCode
from crossgraph.data.split import Split
from crossgraph.explain.measures.deletion import (
    HidingCurves,
    encode_captions,
    encode_regions,
    hide_regions,
    hide_words,
    mean_height,
)
from crossgraph.explain.measures.object_boxes import Boxes, ObjectBoxes
from crossgraph.explain.measures.object_names import Mention
from crossgraph.explain.measures.pointing import METHODS, PointingResult, measure_pointing
from crossgraph.progress import ProgressCallback
from crossgraph.runs import Run
from crossgraph.scoring.encode import device_of, inference
from crossgraph.text.vocabulary import UNKNOWN, EncodedCaption

FORMAT_VERSION = 1
NO_BOXES = "no boxes: neither objects.json nor instances*.json lies beside the captions, and --boxes names no file"
SHARES = np.linspace(0, 1, 11)
_INTERVALS = "percentile bootstrap, clustered by image"


@dataclass(frozen=True)
class MeasureOptions:
    """Settings of how much is measured.

    Attributes:
        thorough: Whether it was asked for; a card's small sample otherwise.
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


SAMPLE = MeasureOptions(False, captions=100, pairs=40, steps=5, orders=3)
THOROUGH = MeasureOptions(True, captions=None, pairs=1000, steps=10, orders=5)


@dataclass(frozen=True, order=True)
class _Pair:
    """A caption with the picture it describes, and the words that name something boxed there."""

    image: int
    caption: int
    words: tuple[tuple[Mention, Boxes], ...] = ()


def measure_explanations(
    runs: Sequence[Run],
    split: Split,
    objects: ObjectBoxes | str,
    options: MeasureOptions = SAMPLE,
    device: torch.device | None = None,
    report: Callable[[str], ProgressCallback] | None = None,
) -> dict[str, Any]:
    """Return the measures of some runs' explanations on a split: a card's entry, laid out as this module says.

    Args:
        runs: Each is measured by itself; that they fit the split has been checked.
        split: Pictures and captions; the captions' own pictures are the matched pairs.
        objects: Boxes of named objects, or why there are none.
        options: How much is measured.
        device: Where the models run; where they are by default.
        report: Makes a progress callback for a task's name.
    """
    boxed = _boxed_pairs(split, objects, options) if isinstance(objects, ObjectBoxes) else []
    matched = _draw_pairs(split, options)
    entries: list[dict[str, Any]] = []
    for run in runs:
        home = device_of(run.model)
        run.model.to(device or home)
        run_report = report(f"explanations of {run.path}") if report is not None else _report_nothing
        begun = time.monotonic()
        entry: dict[str, Any] = {"run": str(run.path), "model": run.info.model}
        try:
            pointing = _measure_pointing(run, split, objects, boxed, options.seed, run_report)
            hiding = _measure_hiding(run, split, matched, options, run_report)
            entry |= {"pointing": pointing, **hiding, "seconds": round(time.monotonic() - begun, 3)}
        except NotImplementedError:
            entry["absent"] = "this model tells no alignment"
        finally:
            run.model.to(home)
        entries.append(entry)
    source: dict[str, Any] = {"absent": objects}
    if isinstance(objects, ObjectBoxes):
        source = {"source": objects.source.name, "kind": objects.kind, "boxes": objects.count}
    return {
        "format_version": FORMAT_VERSION,
        "sample": asdict(options),
        "boxes": source,
        "intervals": {"level": LEVEL, "method": _INTERVALS, "resamples": RESAMPLES},
        "models": entries,
    }


def _boxed_pairs(split: Split, objects: ObjectBoxes, options: MeasureOptions) -> list[_Pair]:
    """Return captions that name something boxed in their picture: in random order, until there are enough."""
    boxes = objects.for_images(split.image_ids)
    pairs: list[_Pair] = []
    rows: list[int] = np.random.default_rng(options.seed).permutation(len(split.captions)).tolist()
    for row in rows:
        own = boxes[image := int(split.caption_image[row])]
        mentions = objects.mentions(split.captions[row]) if own else []
        if words := tuple((mention, own[mention.name]) for mention in mentions if mention.name in own):
            pairs.append(_Pair(image, row, words))
        if len(pairs) == options.captions:
            break
    return sorted(pairs)


def _draw_pairs(split: Split, options: MeasureOptions) -> list[_Pair]:
    """Draw matched pairs, a caption of each picture before a second of any."""
    order: list[int] = np.random.default_rng(options.seed).permutation(len(split.captions)).tolist()
    seen: Counter[int] = Counter()
    turns: list[int] = []  # of each caption: how many of its picture were drawn before it
    for row in order:
        image = int(split.caption_image[row])
        turns.append(seen[image])
        seen[image] += 1
    drawn = sorted(range(len(order)), key=turns.__getitem__)[: options.pairs]
    return sorted(_Pair(int(split.caption_image[order[number]]), order[number]) for number in drawn)


def _measure_pointing(
    run: Run, split: Split, objects: ObjectBoxes | str, pairs: Sequence[_Pair], seed: int, report: ProgressCallback
) -> dict[str, Any]:
    if isinstance(objects, str):
        return {"absent": objects}
    if not pairs:
        return {"absent": f"{objects.source.name} boxes nothing that a caption of this split names"}
    results: list[tuple[int, str, PointingResult]] = []
    unknown = done = 0
    unknown_id = run.vocabulary.row(UNKNOWN)
    for image, image_pairs in groupby(pairs, key=lambda pair: pair.image):
        regions = split.features.read([image])
        if regions.boxes is None:
            return {"absent": "the features say nothing of where their regions are"}
        real = regions.mask[0].numpy()
        region_boxes = regions.boxes[0].numpy().astype(np.float64)[real]
        code = encode_regions(run, regions)
        for pair in image_pairs:
            caption = run.vocabulary.encode(split.captions[pair.caption])
            weights = _numpy(_align(run, code, caption).weights)[:, real]
            for word, boxes in pair.words:
                tokens = [
                    t for t, (start, end) in enumerate(caption.offsets) if max(start, word.start) < min(end, word.end)
                ]
                if all(caption.ids[token] == unknown_id for token in tokens):
                    unknown += 1
                    continue
                result = measure_pointing(weights[tokens].mean(axis=0), region_boxes, boxes)
                results.append((image, word.name, result))
            done += 1
            report("captions with boxed words", done, len(pairs))
    if not results:
        return {"absent": f"the vocabulary knows none of the {unknown} words that name something boxed"}
    images = np.array([image for image, _, _ in results])
    return {
        "pairs": len(results),
        "images": len(np.unique(images)),
        "unknown": unknown,
        "words": _by_object(results),
        "pointing": _method_figures([result.hit for _, _, result in results], images, seed),
        "energy": _method_figures([result.energy for _, _, result in results], images, seed),
    }


def _by_object(results: Sequence[tuple[int, str, PointingResult]]) -> list[dict[str, Any]]:
    """Return the model's means for the ten objects that are named most often."""
    by_name: dict[str, list[PointingResult]] = defaultdict(list)
    for _, name, result in results:
        by_name[name].append(result)
    return [
        {
            "thing": name,
            "pairs": len(own),
            "hit": 100 * float(np.mean([result.hit["model"] for result in own])),
            "energy": 100 * float(np.mean([result.energy["model"] for result in own])),
        }
        for name, own in sorted(by_name.items(), key=lambda item: (-len(item[1]), item[0]))[:10]
    ]


def _method_figures(outcomes: Sequence[Mapping[str, float]], images: np.ndarray, seed: int) -> dict[str, Any]:
    values = 100 * np.array([[outcome[method] for method in METHODS] for outcome in outcomes])
    columns = np.column_stack([values, values[:, :1] - values[:, 1:]])
    names = [*METHODS, *(f"{METHODS[0]} - {method}" for method in METHODS[1:])]
    return {name: _figure(e) for name, e in zip(names, estimate(columns, images, seed), strict=True)}


def _measure_hiding(
    run: Run, split: Split, pairs: Sequence[_Pair], options: MeasureOptions, report: ProgressCallback
) -> dict[str, Any]:
    curves: dict[str, list[tuple[int, HidingCurves | None]]] = {"regions": [], "words": []}
    insignificant = False
    for number, pair in enumerate(pairs):
        regions = split.features.read([pair.image])
        sentence = split.captions[pair.caption]
        caption = run.vocabulary.encode(sentence)
        draws = (options.steps, options.orders, np.random.default_rng([options.seed, pair.caption]))
        alignment = _align(run, encode_regions(run, regions), caption)
        significance = _numpy(alignment.significance)
        weights = _numpy(alignment.weights)[:, regions.mask[0].numpy()]
        significant = bool(significance.any())
        importance = (significance if significant else np.ones_like(significance)) @ weights
        curves["regions"].append((pair.image, hide_regions(run, regions, caption, importance, *draws)))
        if significant:
            curves["words"].append((pair.image, hide_words(run, regions, sentence, significance, *draws)))
        insignificant |= not significant
        report("pairs with parts hidden", number + 1, len(pairs))
    why = {
        "regions": "no picture has more than one region",
        "words": "this model gives words no significance" if insignificant else "no caption has more than one word",
    }
    return {part: _hiding(part_curves, options.seed, why[part]) for part, part_curves in curves.items()}


def _hiding(curves: Sequence[tuple[int, HidingCurves | None]], seed: int, absent: str) -> dict[str, Any]:
    """Return the entry of the regions or the words, from the curves of all pairs with their images."""
    pairs = [pair for _, pair in curves if pair is not None]
    if not pairs:
        return {"absent": absent}
    images = np.array([image for image, pair in curves if pair is not None])
    deletion = [(pair.hidden, pair.deletion, pair.random_deletion) for pair in pairs]
    insertion = [(pair.shown, pair.insertion, pair.random_insertion) for pair in pairs]
    return {
        "pairs": len(pairs),
        "images": len(np.unique(images)),
        "score": float(np.mean([pair.deletion[0] for pair in pairs])),
        "deletion": _hiding_test(deletion, images, sign=-1, seed=seed),
        "insertion": _hiding_test(insertion, images, sign=1, seed=seed),
    }


_Curve = Float[np.ndarray, "..."]


def _hiding_test(
    curves: Sequence[tuple[_Curve, _Curve, _Curve]], images: np.ndarray, sign: Literal[-1, 1], seed: int
) -> dict[str, Any]:
    """Return how the model's orders compare with random ones, from (share, model's scores, random scores) of pairs."""
    heights = np.array([[mean_height(share, said), mean_height(share, random)] for share, said, random in curves])
    gain = sign * (heights[:, 0] - heights[:, 1])
    beats = 100.0 * ((gain > 0) + 0.5 * (gain == 0))
    gained, won = estimate(np.column_stack([gain, beats]), images, seed)
    said, random = (
        np.mean([np.interp(SHARES, curve[0], curve[order]) for curve in curves], axis=0).tolist() for order in (1, 2)
    )
    return {
        "said": float(heights[:, 0].mean()),
        "random": float(heights[:, 1].mean()),
        "gain": _figure(gained),
        "beats_random": _figure(won),
        "curve": {"share": SHARES.round(1).tolist(), "said": said, "random": random},
    }


def _align(run: Run, image: ImageCode, caption: EncodedCaption) -> Attention:
    text = encode_captions(run, [caption])
    with inference(run.model):
        return run.model.align(image, text)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy().astype(np.float64)


def _figure(mean: Estimate) -> dict[str, Any]:
    return {"value": mean.value, "interval": mean.interval}


def _report_nothing(task: str, done: int, total: int) -> None:
    """Ignore progress."""
