"""Ranks, recalls, slices and ensembles equal the published evaluation's numbers where nothing ties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossgraph.evaluate.matrices import Mean
from crossgraph.evaluate.protocol import Protocol, evaluate_scores
from crossgraph.scoring.recall import ranks, recalls

OWNER = np.arange(200) // 5
TIED = ["few_dups", "ties_round1", "ties_round2", "all_equal"]


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, np.ndarray]:
    with np.load(goldens / "sgraf" / "ranks.npz") as file:
        return {name: file[name] for name in file}


def published(direction) -> list[float]:
    return [*direction.recall.values(), direction.median_rank, direction.mean_rank]


@pytest.mark.parametrize("name", ["noties", "f32"])
def test_figures_without_ties_are_exact(golden, name):
    found = recalls(golden[f"{name}.sims"], OWNER)
    assert published(found.i2t) == golden[f"{name}.i2t"].tolist()
    assert published(found.t2i) == golden[f"{name}.t2i"].tolist()
    assert found.i2t.tied == found.t2i.tied == 0


@pytest.mark.parametrize("name", ["noties", "f32"])
def test_ranks_without_ties_are_exact(golden, name):
    for direction, found in zip(("i2t", "t2i"), ranks(golden[f"{name}.sims"], OWNER), strict=True):
        np.testing.assert_array_equal(found.rank(), golden[f"{name}.{direction}_ranks"])


@pytest.mark.parametrize("name", TIED)
def test_ranks_with_ties_lie_between_all_won_and_all_lost(golden, name):
    for direction, found in zip(("i2t", "t2i"), ranks(golden[f"{name}.sims"], OWNER), strict=True):
        low, high = golden[f"{name}.{direction}_rank_lo"], golden[f"{name}.{direction}_rank_hi"]
        assert ((low <= found.rank()) & (found.rank() <= high)).all()
        np.testing.assert_array_equal(found.rank("worst"), high)
        np.testing.assert_array_equal(found.tied, low < high)


@pytest.mark.parametrize("name", TIED)
@pytest.mark.parametrize("cutoff", [1, 5, 10])
def test_hits_with_ties_lie_between_all_lost_and_all_won(golden, name, cutoff):
    for direction, found in zip(("i2t", "t2i"), ranks(golden[f"{name}.sims"], OWNER), strict=True):
        low, high = golden[f"{name}.{direction}_rank_lo"], golden[f"{name}.{direction}_rank_hi"]
        hit = found.hit(cutoff)
        assert ((high < cutoff) <= hit + 1e-12).all()
        assert (hit <= (low < cutoff) + 1e-12).all()
        undecided = (low < cutoff) & (high >= cutoff)
        assert ((hit[undecided] > 0) & (hit[undecided] < 1)).all()


def test_slices_are_the_published_folds(golden):
    evaluation = evaluate_scores(golden["noties.sims"], OWNER, Protocol(slices=5, resamples=10))
    for figures, expected in zip(
        [*evaluation.slices, evaluation.slice_mean], [*golden["fold5.per_fold"], golden["fold5.mean"]], strict=True
    ):
        found = [
            *figures.i2t.hit.values(),
            figures.i2t.median_rank,
            figures.i2t.mean_rank,
            *figures.t2i.hit.values(),
            figures.t2i.median_rank,
            figures.t2i.mean_rank,
            sum(figures.i2t.hit.values()) / 3,
            sum(figures.t2i.hit.values()) / 3,
            figures.rsum,
        ]
        assert found == pytest.approx(expected.tolist(), rel=1e-12)


def test_an_ensemble_is_the_mean_of_the_matrices(golden):
    found = recalls(Mean([golden["noties.sims"], golden["ens.sims_b"]]), OWNER)
    assert published(found.i2t) == golden["ens.i2t"].tolist()
    assert published(found.t2i) == golden["ens.t2i"].tolist()
