"""Every registered model's scoring beside its plain form; independent ones beside one matrix product of their vectors.

python benchmarks/model_ratios.py [--models NAME --models NAME …] [--small] [--out experiments/speed/models.json]

Sizes are each model's own at 36 regions of 2,048 numbers and 13 tokens, features and weights random. The plain form is
what `crossgraph bench` measures from: one caption against all pictures. All forms are timed in turn, medians of rounds.
The card is written after each model; those not asked for stay as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `crossgraph` does

import numpy as np
import torch

from crossgraph.core.types import ImageCode, TextCode
from crossgraph.files import write_json
from crossgraph.models.base import MODELS
from crossgraph.provenance import all_versions, git_revision, hardware
from crossgraph.scoring.benchmark import Setting, build, measure
from crossgraph.scoring.blocks import BlockSize
from crossgraph.scoring.encode import TextBucket
from crossgraph.scoring.tuning import score_codes
from crossgraph.tables import Table

GOAL = 2.0  # times the plain form
GALLERY = (1000, 5000)  # vectors of an independent model
LIGHT = {"vsepp-order": {"images": 1000, "captions": 1000, "plain": 64}}
"""Where a pair takes a microsecond, a thousand of them are done before a second core has begun."""


def beside_product(name: str, setting: Setting, gallery: tuple[int, int]) -> dict[str, float]:
    """Time an independent model's scores of drawn vectors, and the bare product of these."""
    model = build(name, setting)
    size = int(model.config.embed_size)
    sides = [torch.nn.functional.normalize(torch.randn(count, size), dim=1) for count in gallery]
    local = [torch.zeros(1, 1, size).expand(count, 1, -1) for count in gallery]
    masks = [torch.ones(count, 1, dtype=torch.bool) for count in gallery]
    images = ImageCode(local[0], masks[0], sides[0])
    texts = [TextBucket(np.arange(gallery[1]), TextCode(local[1], masks[1], sides[1]))]
    taken: dict[str, list[float]] = {"engine": [], "product": []}
    for turn in range(setting.rounds + 1):
        began = time.perf_counter()
        scores = score_codes(model, images, texts, "float32", BlockSize())
        middle = time.perf_counter()
        product = sides[0] @ sides[1].T
        if turn:
            taken["engine"].append(middle - began)
            taken["product"].append(time.perf_counter() - middle)
        assert np.abs(scores - product.numpy()).max() < 1e-4
    engine, bare = (statistics.median(taken[form]) for form in ("engine", "product"))
    return {"engine_seconds": engine, "product_seconds": bare, "times_a_product": engine / bare}


def measured(name: str, setting: Setting, gallery: tuple[int, int], retune: bool) -> dict[str, Any]:
    before = os.getloadavg()[0]
    found = {"kind": MODELS[name].kind, **measure(name, setting, torch.device("cpu"), None, retune).as_json()}
    if found["kind"] == "independent":
        found["product"] = beside_product(name, setting, gallery)
    found |= {"setting": asdict(setting)}
    return {**found, "load": {"before": round(before, 1), "after": round(os.getloadavg()[0], 1)}}


def table(card: dict[str, Any]) -> str:
    """Write a card as Markdown."""
    models = sorted(card["models"].values(), key=lambda one: (one["kind"] != "interaction", one["model"]))
    loads = [load for one in models for load in one["load"].values()]
    ratios = [
        [
            model["model"],
            f"{1 / model['seconds']['plain']:,.0f}",
            *(f"{model['ratio'][precision]:.1f}" for precision in ("float32", "bfloat16")),
            f"{model['work_ratio']['float32']:.1f}, {model['work_ratio']['bfloat16']:.1f}",
            f"{model['drift']:.0e}",
        ]
        for model in models
        if model["kind"] == "interaction"
    ]
    columns = ["model", "plain, pairs/s", "float32, times", "bfloat16, times", "by processor time", "drift"]
    products = [
        [model["model"], f"{model['product']['times_a_product']:.2f}"] for model in models if "product" in model
    ]
    parts = [
        f"Medians of {card['setting']['rounds']}, load {min(loads):.0f} to {max(loads):.0f}:",
        Table(columns, ratios).to_markdown(padded=False),
        Table(["independent model", "time, in products of its vectors"], products).to_markdown(padded=False),
    ]
    return "\n\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", action="append")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--captions", type=int, default=64)
    parser.add_argument("--plain", type=int, default=8, help="captions that the plain form scores")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--retune", action="store_true", help="try block sizes anew")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("experiments/speed/models.json"))
    given = parser.parse_args()
    setting = Setting(given.images, given.captions, plain=given.plain, rounds=given.rounds)
    gallery = GALLERY
    if given.small:
        setting, gallery = Setting(4, 8, 6, 4, 32, plain=2, rounds=1), (20, 100)
        given.out = Path(tempfile.gettempdir()) / "models-small.json"
    card: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {"models": {}}
    about = {"hardware": hardware(torch.device("cpu")), "versions": all_versions(), "git_revision": git_revision()}
    card |= {**about, "threads": torch.get_num_threads(), "setting": vars(setting), "command": " ".join(sys.argv[1:])}
    for name in given.models or sorted(MODELS):
        sizes = setting if given.small else replace(setting, **LIGHT.get(name, {}))
        card["models"][name] = found = measured(name, sizes, gallery, given.retune)
        write_json(given.out, card)
        told = ", ".join(f"{precision} {found['ratio'][precision]:.1f}" for precision in found["ratio"])
        print(f"{name}: {told} times its plain form", flush=True)
    print(table(card))
    interactions = [one for one in card["models"].values() if one["kind"] == "interaction"]
    slow = [one["model"] for one in interactions if max(one["ratio"].values()) < GOAL]
    print(f"under {GOAL:.0f} times: {', '.join(slow) or 'none'}; -> {given.out}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
