"""What the benchmarks of scoring at scale share: a drawn test split on the disk, a run of any size for it.

Features, words and weights are drawn: times and memory are as with real ones, recalls mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

REGIONS, WIDTH, EMBED, SIM = 36, 2048, 1024, 256  # the published sizes
SHORTEST, LONGEST = 7, 15  # words of a caption; with its start and end 13 tokens on average
WORDS = [f"w{number}" for number in range(7996)]  # with four special ones 8,000 rows


def write_split(folder: Path, images: int, captions_each: int = 5, regions: int = REGIONS, width: int = WIDTH) -> Path:
    """Write a precomp test split, a picture at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    header = {"descr": "<f2", "fortran_order": False, "shape": (images, regions, width)}
    with (folder / "test_ims.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(images):
            file.write(random.random((regions, width), np.float32).astype(np.float16).tobytes())
    with (folder / "test_caps.txt").open("w") as file:
        for length in random.integers(SHORTEST, LONGEST + 1, images * captions_each):
            file.write(" ".join(WORDS[word] for word in random.integers(0, len(WORDS), length)) + "\n")
    return folder


def write_run(folder: Path, name: str, width: int = WIDTH, embed: int = EMBED, sim: int = SIM) -> Path:
    """Save a run with random weights."""
    import torch

    from crossgraph.models.base import MODELS, Inputs
    from crossgraph.runs import RunInfo, describe_model, save_run
    from crossgraph.text.vocabulary import Vocabulary

    torch.manual_seed(0)
    vocabulary = Vocabulary(["<pad>", "<start>", "<end>", "<unk>", *WORDS])
    family = MODELS[name]
    model = family(family.Config(embed_size=embed, sim_size=sim), Inputs(width, len(vocabulary)))
    save_run(folder, model, vocabulary, RunInfo(name, **describe_model(model), region_encoder="published"))
    return folder


def largest_size() -> float:
    """Return the largest resident size that this process has had, pages of files included, in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20, 3)
