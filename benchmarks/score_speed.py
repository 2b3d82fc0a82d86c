"""Our form that speed is measured from, beside the authors' own code: SGR and SAF at full size, one process, in turn.

python benchmarks/score_speed.py MODEL_PY [OUT.json]     MODEL_PY: model.py of the authors' repository
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `crossgraph` does

import torch

from crossgraph.models.sgraf_per_caption import per_caption_scores
from crossgraph.provenance import all_versions, hardware
from crossgraph.scoring.benchmark import Setting, build, draw_codes

SETTING = Setting(images=100, captions=50)  # the authors score 100 × 100 at a time
ROUNDS = 5


def authors_code(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("authors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(name: str, module: Any) -> dict[str, Any]:
    model = build(name, SETTING)
    images, texts = draw_codes(model, SETTING)
    theirs = module.EncoderSimilarity(1024, 256, name.upper(), 3).eval()
    lengths = [SETTING.words] * SETTING.captions
    forms = {
        "authors": lambda: theirs(images.local, texts.local, lengths),
        "ours": lambda: per_caption_scores(model, images, texts),
    }
    wall: dict[str, list[float]] = {form: [] for form in forms}
    cpu: dict[str, list[float]] = {form: [] for form in forms}
    pairs = SETTING.images * SETTING.captions
    with torch.inference_mode():
        for turn in range(ROUNDS + 1):
            for form, work in forms.items():
                began, spent = time.perf_counter(), time.process_time()
                work()
                if turn:
                    wall[form].append(1e6 * (time.perf_counter() - began) / pairs)
                    cpu[form].append(1e6 * (time.process_time() - spent) / pairs)
    found = {
        form: {"us_a_pair": statistics.median(wall[form]), "cpu_us": statistics.median(cpu[form])} for form in forms
    }
    ratio = {kind: found["ours"][kind] / found["authors"][kind] for kind in ("us_a_pair", "cpu_us")}
    print(f"{name}: ours / authors = {ratio['us_a_pair']:.2f} by the clock, {ratio['cpu_us']:.2f} by processor time")
    return {"model": name, **found, "ours_to_authors": ratio}


def main() -> None:
    module = authors_code(Path(sys.argv[1]))
    before = os.getloadavg()[0]
    models = [compare(name, module) for name in ("sgr", "saf")]
    card = {
        "models": models,
        "setting": {**vars(SETTING), "rounds": ROUNDS},
        "load": {"before": before, "after": os.getloadavg()[0]},
        "hardware": hardware(torch.device("cpu")),
        "versions": all_versions(),
    }
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
