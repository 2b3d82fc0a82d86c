"""ECCV Caption and CxC: what the package itself computes on the whole test, and nothing on a part of it."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from references.tiny_features import write_shards
from references.tiny_matcher import tiny_split

from crossgraph.core.errors import InputError
from crossgraph.data import open_data
from crossgraph.data.split import CocoIds, Split
from crossgraph.data.subset import first_images
from crossgraph.evaluate import coco_benchmark, coco_measures
from crossgraph.evaluate.coco_benchmark import Benchmark, load_benchmark
from crossgraph.evaluate.coco_measures import measure_coco, with_ids

ECCV = {"eccv_map_at_r": "mAP@R", "eccv_rprecision": "R-P", "eccv_r1": "R@1"}
RECALLS = {"coco_1k": "COCO 1K", "coco_5k": "COCO 5K", "cxc": "CxC"}
"""The package's names and ours."""


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return load_benchmark()


def split_of(benchmark: Benchmark, images: int, seed: int = 0) -> Split:
    """Return the first images of the test, in another order than Karpathy's."""
    order = np.random.default_rng(seed).permutation(images)
    captions = benchmark.captions.reshape(-1, 5)[order].ravel()
    owners = np.array([benchmark.owner[int(one)] for one in captions[::5]])
    names = [str(one) for one in owners]
    return Split(
        "test",
        names,
        ["c"] * len(captions),
        np.arange(len(captions)) // 5,
        tiny_split().features,
        coco=CocoIds(owners, captions),
    )


class LowRank:
    """Scores that are computed when they are read, so that 25,000 × 5,000 of them take no memory."""

    def __init__(self, split: Split, noise: float = 1.2) -> None:
        random = np.random.default_rng(0)
        self.images = random.standard_normal((len(split.image_ids), 24)).astype(np.float32)
        own = self.images[split.caption_image]
        self.captions = (own + noise * random.standard_normal(own.shape)).astype(np.float32)
        self.shape = (len(self.images), len(self.captions))

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.images[rows] @ self.captions.T


@pytest.mark.slow
def test_every_figure_is_the_packages_own(benchmark):
    split = split_of(benchmark, 5000)
    scores = LowRank(split)
    assert split.coco is not None
    found = measure_coco(scores, split)["figures"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from eccv_caption import Metrics

        whole, images, captions = scores[0:5000], split.coco.images, split.coco.captions
        order = [np.argsort(-part, axis=1)[:, :250] for part in (whole, whole.T)]
        theirs = Metrics().compute_all_metrics(
            {int(asked): captions[row].tolist() for asked, row in zip(images, order[0], strict=True)},
            {int(asked): images[row].tolist() for asked, row in zip(captions, order[1], strict=True)},
            target_metrics=[*(f"{stem}_recalls" for stem in RECALLS), *ECCV],
        )
    names = {key: f"ECCV Caption {{}} {figure}" for key, figure in ECCV.items()}
    for k in (1, 5, 10):
        names |= {f"{stem}_r{k}": f"{name} {{}} R@{k}" for stem, name in RECALLS.items()}
    assert set(theirs) == set(names)
    assert len(found) == 2 * len(names)
    for key, values in theirs.items():
        for direction, value in values.items():
            assert found[names[key].format(direction)]["value"] == pytest.approx(100 * value), (key, direction)


def test_a_part_of_the_test_gets_its_coverage_and_no_number(benchmark):
    split = split_of(benchmark, 40)
    found = measure_coco(LowRank(split), split)
    assert set(found) == {"absent"}
    assert "holds 40 of the 5,000 images and 200 of the 25,000 captions" in found["absent"]
    assert "of 1,261 image" in found["absent"]
    assert "of 1,332 caption queries of ECCV Caption" in found["absent"]


def test_ids_of_other_pictures_are_not_the_benchmarks(benchmark):
    split = split_of(benchmark, 8)
    assert split.coco is not None
    for images, captions in ((split.coco.images, np.arange(40)), (np.arange(8), split.coco.captions)):
        other = dataclasses.replace(split, coco=CocoIds(images, captions))
        assert "none of the split's ids belongs" in measure_coco(LowRank(split), other)["absent"]


def test_without_ids_that_is_said():
    split = tiny_split()
    assert measure_coco(np.zeros((7, len(split.captions))), split) == {"absent": coco_measures.NO_IDS}


def test_without_the_extra_its_installation_is_named(benchmark, monkeypatch):
    monkeypatch.setattr(coco_benchmark.importlib.util, "find_spec", lambda name: None)
    split = split_of(benchmark, 8)
    assert "pip install 'crossgraph[eccv]'" in measure_coco(LowRank(split), split)["absent"]


@pytest.mark.parametrize("ending", ["txt", "npy"])
def test_ids_come_from_a_file(benchmark, tmp_path: Path, ending: str):
    split = split_of(benchmark, 6)
    assert split.coco is not None
    path = tmp_path / f"ids.{ending}"
    if ending == "npy":
        np.save(path, split.coco.captions)
    else:
        path.write_text("".join(f"{one}\n" for one in split.coco.captions))
    found = with_ids(dataclasses.replace(split, coco=None), path)
    assert found.coco is not None
    assert found.coco.captions.tolist() == split.coco.captions.tolist()
    assert found.coco.images.tolist() == split.coco.images.tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 ids for 30 captions"),
        ("1\n" * 30, "id 1 stands in it twice"),
        ("".join(f"{n}\n" for n in range(6)), "6 ids for 30 captions, an id an image"),
        ("1\ntwo\n", "line 2: 'two' is no COCO id"),
        ("1\n-2\n", "line 2: '-2' is no COCO id"),
        ("9" * 40, "is no COCO id"),
    ],
)
def test_files_that_hold_no_ids_are_refused(benchmark, tmp_path: Path, text: str, says: str):
    (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        with_ids(split_of(benchmark, 6), tmp_path / "ids.txt")


def test_missing_and_broken_files_are_refused(benchmark, tmp_path: Path):
    split = split_of(benchmark, 6)
    np.save(tmp_path / "float.npy", np.zeros(30))
    np.save(tmp_path / "square.npy", np.zeros((5, 6), int))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "square.npy").read_bytes()[:-9])
    for name, says in (
        ("none.txt", "no such file"),
        ("none.npy", "no such file"),
        ("float.npy", "float64"),
        ("square.npy", "shape"),
        ("cut.npy", "not a whole"),
        (".", "is a folder"),
    ):
        with pytest.raises(InputError, match=says):
            with_ids(split, tmp_path / name)


def test_an_image_of_two_coco_images_is_refused(benchmark, tmp_path: Path):
    split = split_of(benchmark, 6)
    assert split.coco is not None
    np.save(tmp_path / "ids.npy", np.roll(split.coco.captions, 1))
    with pytest.raises(InputError, match="ids of different COCO images"):
        with_ids(split, tmp_path / "ids.npy")


def captions_file(layout: str, cocoid: bool = True) -> dict:
    """Return a file of two pictures with two captions each, in COCO's layout or Karpathy's."""
    if layout == "coco":
        return {
            "images": [{"id": 70 + n, "file_name": f"{n}.jpg"} for n in range(3)],
            "annotations": [{"image_id": 70 + n % 3, "id": 900 + n, "caption": f"caption {n}"} for n in range(6)],
        }
    return {
        "images": [
            {
                "filename": f"{n}.jpg",
                "split": "test",
                "sentences": [{"raw": f"caption {m}", "tokens": [], "sentid": 900 + m} for m in (n, n + 3)],
                **({"cocoid": 70 + n} if cocoid else {}),
            }
            for n in range(3)
        ]
    }


def opened(folder: Path, value: dict) -> Split:
    write_shards(folder / "features", [f"{n}.jpg" for n in range(3)])
    name = "dataset_coco.json" if "annotations" not in value else "captions_test.json"
    (folder / name).write_text(json.dumps(value))
    (folder / "splits.json").write_text(json.dumps({"splits": {"test": [f"{n}.jpg" for n in range(3)]}}))
    return open_data(folder, log=lambda line: None).split("test")


@pytest.mark.parametrize("layout", ["coco", "karpathy"])
def test_ids_come_with_the_captions_of_both_layouts_and_are_cut_with_them(tmp_path: Path, layout: str):
    split = opened(tmp_path, captions_file(layout))
    for one, images in ((split, 3), (first_images(split, 2), 2)):
        assert one.coco is not None
        assert one.coco.images.tolist() == [70, 71, 72][:images]
        assert one.coco.captions.tolist() == [900, 903, 901, 904, 902, 905][: 2 * images]


def test_a_file_that_numbers_its_sentences_without_coco_ids_has_none(tmp_path: Path):
    assert opened(tmp_path, captions_file("karpathy", cocoid=False)).coco is None


@pytest.mark.parametrize("change", [{"id": None}, {"id": 900}, {"id": "x"}])
def test_captions_with_no_id_or_anothers_leave_the_split_without_ids(tmp_path: Path, change: dict):
    value = captions_file("coco")
    value["annotations"][2] |= change
    assert opened(tmp_path, value).coco is None
