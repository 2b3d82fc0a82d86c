"""Compute ECCV Caption, CxC, COCO 1K and 5K on COCO's 5K test; for other splits, the reason why not.

A card's entry "coco" is {"absent": WHY}, or

    {"package": where the judgements come from, "queries": {BENCHMARK: {"i2t": count, "t2i": count}},
     "figures": {"ECCV Caption i2t mAP@R": {"value", "interval"}, ...}}      all in %

with mAP@R, R-P (R-precision) and R@1 of ECCV Caption, and R@1, R@5, R@10 of CxC, COCO 5K and COCO 1K (the mean of
five consecutive slices in Karpathy's order). The judgements are of the whole test: of a part of it nothing is
computed, for right answers would be missing from the gallery, and a smaller gallery is easier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from crossgraph.bootstrap import estimate
from crossgraph.core.errors import InputError
from crossgraph.data.split import CocoIds, Split
from crossgraph.evaluate.coco_benchmark import Benchmark, load_benchmark
from crossgraph.evaluate.judged import Judged, judge_captions, judge_images
from crossgraph.files import read_text
from crossgraph.progress import ProgressCallback
from crossgraph.scoring.recall import CUTOFFS, ScoreRows, Ties, blocks, ranks

NO_IDS = "no COCO ids are known: the captions file has none, and --ids names none"
SLICES = 5
_REMEDY = "give COCO's id of each caption, one a line or as a .npy of whole numbers, in the order of the captions"


def with_ids(split: Split, path: Path) -> Split:
    """Return a split whose captions have the ids of a file.

    Args:
        split: As the data has it.
        path: COCO's id of every caption, in the split's order: a line each, or a `.npy`.

    Raises:
        InputError: The file is missing, or holds something else, or not an id a caption, or one twice; or the
            extra `eccv`, which knows whose captions they are, is not installed.
    """
    captions = _read_ids(path)
    if len(captions) != len(split.captions):
        meant = ", an id an image; captions are wanted" if len(captions) == len(split.image_ids) else ""
        raise InputError(f"{path}: {len(captions):,} ids for {len(split.captions):,} captions{meant}", _REMEDY)
    _, first, times = np.unique(captions, return_index=True, return_counts=True)
    if (times > 1).any():
        raise InputError(f"{path}: id {int(captions[first[times > 1][0]])} stands in it twice", _REMEDY)
    owner = load_benchmark().owner
    listed: list[int] = captions.tolist()
    images = np.full(len(split.image_ids), -1, dtype=np.int64)
    described: list[int] = split.caption_image.tolist()
    for row, caption in zip(described, listed, strict=True):
        image = owner.get(caption, -1)
        if image >= 0 and images[row] not in (-1, image):
            raise InputError(
                f"{path}: the captions of image '{split.image_ids[row]}' are given ids of different COCO images "
                f"({int(images[row])} and {image})",
                _REMEDY,
            )
        images[row] = max(image, int(images[row]))
    return dataclasses.replace(split, coco=CocoIds(images, captions))


def measure_coco(
    scores: ScoreRows, split: Split, ties: Ties = "expected", report: ProgressCallback | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return a card's entry "coco"; see the module's docstring.

    Args:
        scores: (images, captions), finite.
        split: What they are of.
        ties: How equal scores count.
        report: Called with progress.
        seed: Of the intervals.
    """
    if split.coco is None:
        return {"absent": NO_IDS}
    try:
        benchmark = load_benchmark()
    except InputError as error:
        return {"absent": f"{error.problem} ({error.remedy})"}
    why = _why_not(split.coco, split, benchmark)
    return {"absent": why} if why else _measured(scores, split, split.coco, benchmark, ties, report, seed)


def _read_ids(path: Path) -> Int64[np.ndarray, " caption"]:
    if path.is_dir():
        raise InputError(f"{path}: is a folder", _REMEDY)
    if path.suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file", _REMEDY) from error
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: not a whole .npy file", _REMEDY) from error
        if values.ndim != 1 or values.dtype.kind not in "iu":
            raise InputError(f"{path}: holds {values.dtype} of shape {values.shape}, not a row of ids", _REMEDY)
        return values.astype(np.int64)
    found: list[int] = []
    for number, line in enumerate(read_text(path, _REMEDY).split("\n"), start=1):
        word = line.strip()
        if word:
            if not (word.isascii() and word.isdecimal() and len(word) < 18):
                raise InputError(f"{path}, line {number}: '{word[:40]}' is no COCO id", _REMEDY)
            found.append(int(word))
    return np.array(found, dtype=np.int64)


def _why_not(ids: CocoIds, split: Split, benchmark: Benchmark) -> str:
    """Return why a split is not COCO's 5K test; empty where it is."""
    captions, images = set(ids.captions.tolist()), set(ids.images.tolist())
    pairs = zip(ids.captions.tolist(), ids.images[split.caption_image].tolist(), strict=True)
    known = {caption for caption, image in pairs if benchmark.owner.get(caption) == image}
    there = {image for image in images if image in benchmark.coco.i2t} if known else set[int]()
    whole, all_images = len(benchmark.owner), len(benchmark.coco.i2t)
    if not known:
        return "none of the split's ids belongs to COCO's 5K test"
    if len(known) < whole or len(there) < all_images:
        eccv = (
            f"{sum(i in there for i in benchmark.eccv.i2t):,} of {len(benchmark.eccv.i2t):,} image and "
            f"{sum(c in known for c in benchmark.eccv.t2i):,} of {len(benchmark.eccv.t2i):,} caption queries"
        )
        return (
            f"the split holds {len(there):,} of the {all_images:,} images and {len(known):,} of the {whole:,} captions "
            f"of COCO's 5K test, and {eccv} of ECCV Caption; a part of the gallery gives no comparable figure"
        )
    if len(captions) > whole or len(split.image_ids) > all_images or len(split.captions) > whole:
        extra = len(split.image_ids) - all_images
        return f"the split holds {extra:,} images and {len(split.captions) - whole:,} captions beside COCO's 5K test"
    return ""


def _measured(
    scores: ScoreRows,
    split: Split,
    ids: CocoIds,
    benchmark: Benchmark,
    ties: Ties,
    report: ProgressCallback | None,
    seed: int,
) -> dict[str, Any]:
    row = {image: number for number, image in enumerate(ids.images.tolist())}
    column = {caption: number for number, caption in enumerate(ids.captions.tolist())}
    sets = (benchmark.eccv, benchmark.cxc, benchmark.coco)
    i2t = judge_images(scores, [_numbered(one.i2t, row, column) for one in sets], ties, report)
    t2i = judge_captions(scores, [_numbered(one.t2i, column, row) for one in sets], ties)
    names = ("ECCV Caption", "CxC", "COCO 5K")
    figures: dict[str, Any] = {}
    for name, images, captions in zip(names, i2t, t2i, strict=True):
        for direction, one, owners in (
            ("i2t", images, images.queries),
            ("t2i", captions, split.caption_image[captions.queries]),
        ):
            figures |= _figures(f"{name} {direction}", _columns(name, one), owners, seed)
    for direction, (hits, owners) in _slices(scores, split, row, column, benchmark, ties).items():
        figures |= _figures(f"COCO 1K {direction}", {f"R@{k}": hits[:, i] for i, k in enumerate(CUTOFFS)}, owners, seed)
    return {
        "package": benchmark.package,
        "queries": {
            name: {"i2t": len(images.queries), "t2i": len(captions.queries)}
            for name, images, captions in zip(names, i2t, t2i, strict=True)
        },
        "figures": figures,
    }


def _numbered(
    right: Mapping[int, Sequence[int]], query: Mapping[int, int], answer: Mapping[int, int]
) -> dict[int, list[int]]:
    """Return the judgements as rows and columns instead of COCO's ids.

    ECCV Caption calls two captions right that are not among the test's 25,000; its own program counts them as
    never found, and so do we.
    """
    return {query[asked]: [answer.get(one, -1) for one in dict.fromkeys(answers)] for asked, answers in right.items()}


def _columns(name: str, found: Judged) -> dict[str, Float[np.ndarray, " query"]]:
    if name == "ECCV Caption":
        return {"mAP@R": found.precision, "R-P": found.r_precision, "R@1": found.hit[:, 0]}
    return {f"R@{cutoff}": found.hit[:, i] for i, cutoff in enumerate(CUTOFFS)}


def _figures(
    name: str,
    columns: Mapping[str, Float[np.ndarray, " query"]],
    images: Int64[np.ndarray, " query"],
    seed: int,
) -> dict[str, Any]:
    estimates = estimate(100.0 * np.column_stack(list(columns.values())), images, seed)
    return {
        f"{name} {figure}": {"value": found.value, "interval": found.interval}
        for figure, found in zip(columns, estimates, strict=True)
    }


def _slices(
    scores: ScoreRows,
    split: Split,
    row: Mapping[int, int],
    column: Mapping[int, int],
    benchmark: Benchmark,
    ties: Ties,
) -> dict[str, tuple[Float[np.ndarray, "query cutoff"], Int64[np.ndarray, " query"]]]:
    """Return the hits of five slices in the benchmark's order, one after the other, and each query's image."""
    columns = np.array([column[caption] for caption in benchmark.captions.tolist()]).reshape(SLICES, -1)
    rows = [np.unique(split.caption_image[own]) for own in columns]
    parts = [np.empty((len(own), columns.shape[1])) for own in rows]
    for block_rows, block in blocks(scores):
        for part, own, wanted in zip(parts, rows, columns, strict=True):
            here = (own >= block_rows.start) & (own < block_rows.stop)
            part[here] = block[own[here] - block_rows.start][:, wanted]
    hits: dict[str, list[np.ndarray]] = {"i2t": [], "t2i": []}
    images: dict[str, list[np.ndarray]] = {"i2t": [], "t2i": []}
    for part, own, wanted in zip(parts, rows, columns, strict=True):
        owner = np.searchsorted(own, split.caption_image[wanted])
        for direction, found in zip(("i2t", "t2i"), ranks(part, owner), strict=True):
            hits[direction].append(np.stack([found.hit(cutoff, ties) for cutoff in CUTOFFS], axis=1))
            images[direction].append(own[found.queries] if direction == "i2t" else own[owner[found.queries]])
    return {direction: (np.concatenate(hits[direction]), np.concatenate(images[direction])) for direction in hits}
