"""What a card's Markdown says of explanations and of COCO's other judges: figures, intervals, and what is absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from references.planted import planted_run, planted_split

from crossgraph.evaluate.explained import explained
from crossgraph.evaluate.table import benchmarks
from crossgraph.explain.measures import NO_BOXES, SAMPLE, THOROUGH, measure_explanations
from crossgraph.explain.measures.object_boxes import read_boxes


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory):
    split, file = planted_split()
    path: Path = tmp_path_factory.mktemp("boxes") / "instances.json"
    path.write_text(json.dumps(file))
    return split, read_boxes(path)


def rows(parts: list[str]) -> dict[str, list[str]]:
    lines = [line for part in parts for line in part.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_every_figure_of_the_card_stands_in_a_table_with_its_interval(planted):
    found = measure_explanations([planted_run()], *planted, SAMPLE)
    table = rows(explained(found))
    entry = found["models"][0]
    low, high = entry["pointing"]["pointing"]["centre"]["interval"]
    assert f"({low:.1f} to {high:.1f})" in table["pointing game"][2]
    assert table["energy in the box"][1].startswith("100.0")
    gain = entry["words"]["deletion"]["gain"]
    assert table["words hidden first"][3].startswith(f"{gain['value']:.3f} (")
    assert len({len(row) for name, row in table.items() if "first" in name}) == 1


def test_a_small_sample_says_how_to_measure_more(planted):
    assert "measures more" in explained(measure_explanations([planted_run()], *planted, SAMPLE))[-1]
    assert "measures more" not in " ".join(explained(measure_explanations([planted_run()], *planted, THOROUGH)))


def test_the_runs_of_an_ensemble_are_told_apart(planted):
    table = rows(explained(measure_explanations([planted_run(), planted_run("false")], *planted, SAMPLE)))
    assert table["runs/true: pointing game"][1] != table["runs/false: pointing game"][1]


def test_what_is_absent_says_why(planted):
    split, things = planted
    assert explained({"absent": "score files hold no attention"}) == [
        "**Explanations:** not measured: score files hold no attention."
    ]
    without_boxes = measure_explanations([planted_run()], split, NO_BOXES)
    assert f"**Not measured:** pointing game: {NO_BOXES}." in explained(without_boxes)
    mute = measure_explanations([planted_run("mute")], split, things)
    assert any("tells no alignment" in part for part in explained(mute))


def test_coco_as_others_judge_it_is_laid_out_by_benchmark():
    names = [f"ECCV Caption {d} {f}" for d in ("i2t", "t2i") for f in ("mAP@R", "R-P", "R@1")]
    names += [f"{b} {d} R@{k}" for b in ("CxC", "COCO 5K", "COCO 1K") for d in ("i2t", "t2i") for k in (1, 5, 10)]
    figures = {name: {"value": float(n), "interval": [n - 0.5, n + 0.5]} for n, name in enumerate(names)}
    found = {"package": "eccv-caption 0.1.0", "queries": {"CxC": {"i2t": 5000, "t2i": 24972}}, "figures": figures}
    parts = benchmarks(found)
    table = rows(parts)
    assert table["ECCV Caption"] == [f"{n:.1f}" for n in range(6)]
    assert table["COCO 1K"] == [f"{n:.1f}" for n in range(18, 24)]
    assert "CxC: 5,000 images, 24,972 captions" in parts[-1]
    assert benchmarks({"absent": "no ids"}) == ["**ECCV Caption and CxC:** absent: no ids."]
