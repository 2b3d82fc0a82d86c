"""Provenance of results: model, data, command, versions and hardware, as cards and score files record them."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crossgraph.data.split import Split
from crossgraph.files import sha256
from crossgraph.graphs.word_graph import reads_word_edges
from crossgraph.runs import Run, versions


def describe_run(run: Run) -> dict[str, Any]:
    """Return a run's model, weights, training data and origin, for cards."""
    info = run.info
    return {
        "run": str(run.path),
        "model": info.model,
        "status": run.model.status,
        "config": info.config,
        "inputs": info.inputs,
        "region_encoder": info.region_encoder,
        "vocabulary": {"entries": len(run.vocabulary), "fingerprint": run.vocabulary.fingerprint()},
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "weights_sha256": sha256(run.path / "model.safetensors"),
        "trained_on": info.data,
        "word_edges": _word_edges(run),
        "chosen_by": info.chosen_by,
        "seed": info.seed,
        "origin": info.origin,
        "command": info.command,
        "git_revision": info.git_revision,
        "versions": info.versions,
        "history": info.history,
    }


def _word_edges(run: Run) -> dict[str, str] | None:
    """Return the parsers that gave word-graph edges in training and now; None for models without a word graph."""
    parser = run.vocabulary.parser
    edges = {"trained_with": run.info.word_edges, "sentences": parser.name if parser else ""}
    return edges if reads_word_edges(run.model) else None


def pairs_fingerprint(split: Split) -> str:
    """Return a digest of a split's ids, captions and map; scores whose digests are equal may be averaged."""
    digest = hashlib.sha256()
    for part in (split.image_ids, split.captions):
        digest.update("\0".join(part).encode("utf-8") + b"\1")
    digest.update(np.ascontiguousarray(split.caption_image, dtype=np.int64).tobytes())
    return digest.hexdigest()


def all_versions() -> dict[str, str]:
    """Return the versions of the program, Python, PyTorch and NumPy."""
    return {**versions(), "numpy": np.__version__}


def git_revision() -> str:
    """Return the commit of the program's checkout, with "+changes" where files differ; "" when installed."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder)]
    try:
        top = _output([*command, "rev-parse", "--show-toplevel"])
        if not top or not (Path(top) / "src" / "crossgraph").samefile(folder.parent):
            return ""
        revision = _output([*command, "rev-parse", "HEAD"])
        changed = _output([*command, "status", "--porcelain", "--untracked-files=no", "--", str(folder.parent)])
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{revision}+changes" if changed else revision


def hardware(device: torch.device | None = None) -> dict[str, Any]:
    """Return system, processor, cores and device.

    Args:
        device: Where the model ran; None where no model ran.
    """
    described: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    if device is not None:
        described["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return described


def typed_command() -> str:
    """Return the command line of this process as one line."""
    import shlex

    return shlex.join(["crossgraph", *sys.argv[1:]])


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
