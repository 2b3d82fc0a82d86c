"""What a run is scored on must be what it was trained on: its own encoder's features, however wide another's are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from references.tiny_matcher import ArrayFeatures, tiny_split
from references.tiny_run import write_tiny_run

from crossgraph.core.errors import InputError
from crossgraph.data.split import Split
from crossgraph.runs import Run, load_run
from crossgraph.scoring.compatibility import check_run_fits


def run_of(folder: Path, encoder: str) -> Run:
    return load_run(write_tiny_run(folder / "run", region_encoder=encoder))


def split_by(encoder: str, width: int = 6) -> Split:
    split = tiny_split(width=width)
    assert isinstance(split.features, ArrayFeatures)
    split.features.encoder = encoder
    return dataclasses.replace(split, source="captions.csv (test)")


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        ("tiny", "tiny"),
        ("tiny", "tiny+bfloat16"),
        ("tiny+bfloat16", "tiny"),
        ("tiny", "published"),
        ("published", "tiny"),
        ("", "tiny"),
    ],
)
def test_the_same_network_and_features_of_unknown_origin_are_taken(tmp_path, trained, given):
    check_run_fits(run_of(tmp_path, trained), split_by(given))


def test_another_networks_features_of_the_same_width_are_refused(tmp_path):
    with pytest.raises(InputError) as refused:
        check_run_fits(run_of(tmp_path, "tiny"), split_by("other"))
    for part in ("captions.csv (test)", "made by 'other'", "trained on 'tiny'", "--encoder tiny"):
        assert part in str(refused.value)


def test_of_a_model_in_another_folder_it_is_warned(tmp_path):
    with pytest.warns(UserWarning, match="unless these are the same network"):
        check_run_fits(run_of(tmp_path, "transformers:/old/clip"), split_by("transformers:/new/clip"))


def test_another_width_is_refused_first(tmp_path):
    with pytest.raises(InputError, match="features are 7 wide"):
        check_run_fits(run_of(tmp_path, "tiny"), split_by("other", width=7))
