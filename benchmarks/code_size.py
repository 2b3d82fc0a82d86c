"""What codes on disk cost: bytes a picture, and what their rounding does to scores and recall.

Run: python benchmarks/code_size.py RUN --data DATA [--split test] [--images 100] [--docs docs/library.md]

The first pictures of a split are scored with all of their captions from codes as the model gives them, from
float16 records and from int8 records; --docs writes the table between two marks of that file.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from crossgraph.bundle.folder import load_bundle
from crossgraph.core.types import ImageCode
from crossgraph.data.opening import open_data
from crossgraph.data.split import Split
from crossgraph.data.subset import first_images
from crossgraph.library.records import Layout, pack, unpack
from crossgraph.runs import Run
from crossgraph.scoring.encode import encode_captions, inference
from crossgraph.scoring.engine import score_bucket
from crossgraph.tables import Table

BEGIN, END = "<!-- code_size: begin -->", "<!-- code_size: end -->"


def scores_of(run: Run, code: ImageCode, split: Split) -> np.ndarray:
    scores = np.empty((len(code), len(split.captions)), dtype=np.float32)
    with inference(run.model):
        scorer = run.model.fold()
        for bucket in encode_captions(run.model, run.vocabulary, split.captions):
            scores[:, bucket.captions] = score_bucket(scorer, code, bucket, lambda pairs: None)
    return scores


def recall(scores: np.ndarray, split: Split) -> tuple[float, float]:
    """Return R@1 of captions by picture and of pictures by caption, in percent."""
    own = split.caption_image
    by_picture = own[scores.argmax(axis=1)] == np.arange(len(scores))
    return 100 * float(by_picture.mean()), 100 * float((scores.argmax(axis=0) == own).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--docs", type=Path)
    given = parser.parse_args()
    bundle = load_bundle(given.run)
    split = first_images(open_data(given.data).split(given.split), given.images)
    encoded = bundle.encode_pictures(split.features.read(range(len(split.image_ids))))
    exact = scores_of(bundle.reranker, encoded.code, split)
    before = recall(exact, split)
    about = f"{bundle.reranker.info.model}, {len(exact)} pictures and {len(split.captions)} captions of {split.name}; "
    about += "change of scores against codes as the model gives them, and recall:"
    rows = [["as computed", "–", "–", "–", f"{before[0]:.1f}", f"{before[1]:.1f}"]]
    for kind in ("float16", "int8"):
        layout = Layout.of(encoded.index, encoded.code, kind)
        found = scores_of(bundle.reranker, unpack(layout, pack(layout, encoded.index, encoded.code)), split)
        change = np.abs(found - exact)
        one, other = recall(found, split)
        size, most, mean = f"{layout.dtype.itemsize:,}", f"{change.max():.1e}", f"{change.mean():.1e}"
        rows.append([kind, size, most, mean, f"{one:.1f}", f"{other:.1f}"])
    columns = ["codes", "bytes a picture", "largest change", "mean change", "R@1 i2t", "R@1 t2i"]
    table = f"{about}\n\n{Table(columns, rows).to_markdown(padded=False)}"
    print(table)
    if given.docs:
        text = given.docs.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        given.docs.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
