"""Two independent programs agree: ranx on hit rate and recall, eccv-caption on COCO's own test set."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from crossgraph.evaluate.protocol import Evaluation, Protocol, evaluate_scores
from crossgraph.scoring.topk import best_captions, best_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranx():
    """ranx as plain Python: compiling its metrics takes half a minute, running them uncompiled none."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("NUMBA_DISABLE_JIT", "1")
        warnings.simplefilter("ignore")  # its own dependencies' deprecations
        return pytest.importorskip("ranx")


@pytest.fixture(scope="module")
def coco():
    """COCO's 5K test set: its ids and captions, as the package's wheel has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="failed to import `ujson`")
        package = pytest.importorskip("eccv_caption")
        return package.Metrics()


def ragged() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    owner = random.permutation(np.repeat(np.arange(60), 1 + np.arange(60) % 7))
    scores = random.standard_normal((60, len(owner)))
    scores[owner, np.arange(len(owner))] += 1.5
    return scores, owner


def by_ranx(ranx, scores: np.ndarray, right: dict[int, list[int]]) -> dict[str, float]:
    qrels = ranx.Qrels({str(query): {str(answer): 1 for answer in answers} for query, answers in right.items()})
    run = {str(query): {str(answer): float(score) for answer, score in enumerate(scores[query])} for query in right}
    names = [f"{metric}@{cutoff}" for metric in ("hit_rate", "recall") for cutoff in (1, 5, 10)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ranx.evaluate(qrels, ranx.Run(run), names)


def test_ranx_agrees_on_hit_rate_and_recall_both_ways(ranx):
    scores, owner = ragged()
    ours = evaluate_scores(scores, owner, Protocol(resamples=2)).whole
    images = {image: np.flatnonzero(owner == image).tolist() for image in range(60)}
    captions = {caption: [int(image)] for caption, image in enumerate(owner)}
    for figures, theirs in (
        (ours.i2t, by_ranx(ranx, scores, images)),
        (ours.t2i, by_ranx(ranx, scores.T, captions)),
    ):
        for cutoff in (1, 5, 10):
            assert figures.hit[cutoff] == pytest.approx(100 * theirs[f"hit_rate@{cutoff}"])
            assert figures.recall[cutoff] == pytest.approx(100 * theirs[f"recall@{cutoff}"])


def coco_split(coco, images: int) -> tuple[list[int], list[int], np.ndarray]:
    """Return image ids, caption ids and the map of COCO's first test images, in the published order."""
    captions = [int(caption) for caption in coco.coco_ids[: 5 * images]]
    owners = [coco.coco_gts["t2i"][caption][0] for caption in captions]
    ids = list(dict.fromkeys(owners))
    assert len(ids) == images
    row = {image: number for number, image in enumerate(ids)}
    return ids, captions, np.array([row[image] for image in owners])


def coco_scores(images: int, owner: np.ndarray) -> np.ndarray:
    scores = np.random.default_rng(0).standard_normal((images, len(owner)), dtype=np.float32)
    scores[owner, np.arange(len(owner))] += 3
    return scores


def ranked(ids: list[int], captions: list[int], scores: np.ndarray, count: int) -> dict[str, dict[int, list[int]]]:
    texts, _ = best_captions(scores, count)
    pictures, _ = best_images(scores, count)
    return {
        "i2t": {ids[image]: [captions[row] for row in rows] for image, rows in enumerate(texts)},
        "t2i": {captions[caption]: [ids[row] for row in rows] for caption, rows in enumerate(pictures)},
    }


def agree(ours: Evaluation, theirs: dict[int, dict[str, float]], mean: bool = False) -> None:
    figures = ours.slice_mean if mean else ours.whole
    assert figures is not None
    for cutoff, found in theirs.items():
        assert figures.i2t.hit[cutoff] == pytest.approx(100 * found["i2t"])
        assert figures.t2i.hit[cutoff] == pytest.approx(100 * found["t2i"])


def test_eccv_caption_agrees_on_cocos_5k_recalls(coco):
    ids, captions, owner = coco_split(coco, 5000)
    scores = coco_scores(5000, owner)
    ours = evaluate_scores(scores, owner, Protocol(resamples=2))
    lists = ranked(ids, captions, scores, 10)
    agree(ours, {cutoff: coco.coco_5k_recalls(lists, "all", K=cutoff) for cutoff in (1, 5, 10)})


def test_eccv_caption_agrees_on_1k_recalls_the_mean_of_five_slices(coco, monkeypatch):
    ids, captions, owner = coco_split(coco, 200)
    scores = coco_scores(200, owner)
    ours = evaluate_scores(scores, owner, Protocol(slices=5, resamples=2))
    lists = ranked(ids, captions, scores, 1000)
    monkeypatch.setattr(coco, "coco_ids", coco.coco_ids[:1000])  # theirs cuts five slices out of what it has
    agree(ours, {cutoff: coco.coco_1k_recalls(lists, "all", K=cutoff) for cutoff in (1, 5, 10)}, mean=True)


def test_eccv_caption_agrees_on_map_at_r(coco, monkeypatch, capsys):
    ids, captions, owner = coco_split(coco, 100)
    scores = coco_scores(100, owner)
    right = {
        "i2t": {image: [captions[row] for row in np.flatnonzero(owner == number)] for number, image in enumerate(ids)},
        "t2i": {caption: [ids[owner[row]]] for row, caption in enumerate(captions)},
    }
    monkeypatch.setattr(coco, "eccv_gts", right)
    theirs = coco.eccv_metrics(ranked(ids, captions, scores, 10), "all")["eccv_map_at_r"]
    ours = evaluate_scores(scores, owner, Protocol(resamples=2)).whole
    assert ours.i2t.map_r == pytest.approx(100 * theirs["i2t"])
    assert ours.t2i.map_r == pytest.approx(100 * theirs["t2i"])
