"""Score matrices must belong to the data, and together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from references.tiny_matcher import tiny_split

from crossgraph.core.errors import InputError
from crossgraph.data.subset import first_images
from crossgraph.evaluate.sources import adopt_files, blame, combine
from crossgraph.provenance import pairs_fingerprint
from crossgraph.scoring.recall import NonFiniteScore, recalls
from crossgraph.scoring.score_file import ScoreInfo, open_scores, write_scores

SPLIT = tiny_split()
SHAPE = (len(SPLIT.image_ids), len(SPLIT.captions))


def info(split=SPLIT) -> ScoreInfo:
    pairs, features = pairs_fingerprint(split), split.features.fingerprint()
    return ScoreInfo([{"run": "r", "model": "tiny"}], split.name, pairs, features, "tiny", "float32", "cpu")


def saved(path: Path, scores: np.ndarray, note: ScoreInfo | None = None):
    if note is None:
        np.save(path, scores)
    else:
        write_scores(path, iter([scores]), scores.shape, note)
    return open_scores(path)


def numbers(seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_several_files_are_their_mean(tmp_path: Path):
    files = [saved(tmp_path / f"{seed}.npy", numbers(seed), info()) for seed in range(3)]
    mean = combine(adopt_files(files, SPLIT, SPLIT))
    expected = np.mean([numbers(seed).astype(np.float64) for seed in range(3)], axis=0)
    np.testing.assert_allclose(mean[slice(0, SHAPE[0])], expected)


def test_a_file_of_the_whole_split_serves_its_first_images(tmp_path: Path):
    part = first_images(SPLIT, 4)
    kept = np.flatnonzero(SPLIT.caption_image < 4)
    [source] = adopt_files([saved(tmp_path / "s.npy", numbers(), info())], SPLIT, part)
    expected = recalls(numbers()[:4][:, kept], part.caption_image)
    assert recalls(source.scores, part.caption_image) == expected


def test_a_file_of_the_first_images_serves_them_too(tmp_path: Path):
    part = first_images(SPLIT, 4)
    shape = (4, len(part.captions))
    [source] = adopt_files([saved(tmp_path / "s.npy", numbers(shape=shape))], SPLIT, part)
    assert tuple(source.scores.shape) == shape


def test_a_transposed_matrix_is_told_as_such(tmp_path: Path):
    with pytest.raises(InputError, match="is captions × images: transpose it"):
        adopt_files([saved(tmp_path / "s.npy", numbers().T.copy())], SPLIT, SPLIT)


def test_a_matrix_of_another_size_names_both_sizes(tmp_path: Path):
    with pytest.raises(InputError, match=rf"s.npy: 5 × 6, but .* has 7 images × {SHAPE[1]} captions"):
        adopt_files([saved(tmp_path / "s.npy", numbers(shape=(5, 6)))], SPLIT, SPLIT)


def test_a_matrix_of_other_captions_is_refused_whatever_its_shape(tmp_path: Path):
    other = dataclasses.replace(SPLIT, captions=["something else", *SPLIT.captions[1:]], name="dev")
    with pytest.raises(InputError, match="made from other pictures or captions"):
        adopt_files([saved(tmp_path / "s.npy", numbers(), info(other))], SPLIT, SPLIT)


def test_a_matrix_of_other_features_is_welcome_with_a_remark(tmp_path: Path):
    note = dataclasses.replace(info(), features="0" * 64, region_encoder="other")
    [source] = adopt_files([saved(tmp_path / "s.npy", numbers(), note)], SPLIT, SPLIT)
    assert "made from other features (other)" in source.remarks[0]


def test_the_matrix_that_holds_a_nan_is_named_with_image_and_caption(tmp_path: Path):
    broken = numbers()
    broken[3, 5] = np.nan
    files = [saved(tmp_path / "good.npy", numbers()), saved(tmp_path / "bad.npy", broken)]
    sources = adopt_files(files, SPLIT, SPLIT)
    with pytest.raises(NonFiniteScore) as refused:
        recalls(combine(sources), SPLIT.caption_image)
    line = str(blame(refused.value, sources, SPLIT))
    assert "bad.npy" in line
    assert "'image 3'" in line
    assert SPLIT.captions[5][:40] in line
    assert "NaN" in line
