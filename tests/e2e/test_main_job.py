"""The main job on real photos, typed as a person would: extract, train, score, evaluate.

76 photos teach nothing; what is tested is that every step takes the former's output and says what it did.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.shared]


def crossgraph(*words, folder):
    done = subprocess.run(
        [sys.executable, "-m", "crossgraph", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def job(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    shutil.copytree(shared / "data" / "coco-mini-open", folder / "photos")
    said = {
        "extract": crossgraph("extract", "photos/images", "--out", "features", folder=folder),
        "train": crossgraph(
            "train",
            "sgraf-saf-scenes",
            *("--data", "photos", "--features", "features", "--out", "run"),
            *("--epochs=2", "--batch=16", "--vocabulary_minimum=2"),
            *("--model.config.embed_size=32", "--model.config.sim_size=16"),
            folder=folder,
        ),
        "score": crossgraph(
            *("score", "run", "--data", "photos", "--features", "features"),
            *("--split", "test", "--out", "scores.npy"),
            folder=folder,
        ),
        "evaluate": crossgraph(
            "evaluate", "run", "--data", "photos", "--features", "features", "--split", "test", folder=folder
        ),
    }
    return folder, said


def test_all_76_photos_become_49_regions(job):
    folder, said = job
    assert "76 pictures × 49 × 1280" in said["extract"].replace(",", "")
    manifest = json.loads((folder / "features" / "manifest.json").read_text())
    assert len(manifest["pictures"]) == 76


def test_the_split_is_by_picture_and_kept_beside_the_data(job):
    folder, _ = job
    assert (folder / "photos" / "splits.json").exists()


def test_the_scores_are_a_matrix_of_the_test_split(job):
    folder, _ = job
    scores = np.load(folder / "scores.npy")
    assert scores.dtype == np.float32
    assert scores.shape[1] == 5 * scores.shape[0]
    assert np.isfinite(scores).all()
    assert scores.std() > 0


def test_the_card_says_what_was_measured_on_what(job):
    folder, said = job
    card = json.loads((folder / "run" / "card.json").read_text())
    text = json.dumps(card)
    for word in ("rsum", "fingerprint", "dev", "test"):
        assert word in text.lower()
    assert "R@1" in said["evaluate"]
