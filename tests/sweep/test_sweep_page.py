"""The table is made from cards alone: what is missing is '?', what failed says why."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from references.tiny_sweep import SWEEP, write_sweep

from crossgraph.files import sha256, write_json
from crossgraph.sweep import sweep_page
from crossgraph.sweep.definition import load
from crossgraph.sweep.run_status import SweepPaths

DATA = "d" * 64


def write_card(paths, name, seed=0, r1=50.0, rsum=300.0, split="test", fingerprint=DATA):
    """A run whose weights are its name, and the card that belongs to it."""
    variant = paths.sweep[name]
    runs = paths.runs(variant, seed)
    for run in runs:
        run.mkdir(parents=True, exist_ok=True)
        (run / "model.safetensors").write_text(str(run))
        (run / "log.jsonl").write_text('{"event": "train", "seconds": 5}\n{"event": "dev", "seconds": 125.5}\n')
    figures = {"i2t R@1": r1, "t2i R@1": r1 - 10, "rSum": rsum}
    models = [
        {"weights_sha256": sha256(run / "model.safetensors"), "parameters": 1234, "chosen_by": {}} for run in runs
    ]
    data = {"images": 140, "captions": 700, "fingerprint": fingerprint, "region_encoder": "tiny", "split": split}
    intervals = {figure: [value - 4, value + 4] for figure, value in figures.items()}
    whole = {"figures": figures, "intervals": intervals}
    write_json(paths.card(variant, seed), {"models": {"entries": models}, "data": data, "results": {"whole": whole}})


@pytest.fixture
def paths(tmp_path):
    return SweepPaths(tmp_path / "out", load(write_sweep(tmp_path)), "test")


def cells(paths, problems=()):
    text = sweep_page.write(sweep_page.collect(paths, DATA, dict(problems)), paths)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return text, {row.split("`")[1]: [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))] for row in rows}


def test_a_row_holds_figures_intervals_size_time_and_the_paper_s_figures(paths):
    write_card(paths, "saf")
    text, rows = cells(paths)
    assert rows["saf"] == [
        "`saf`", "as it is", "50.0 (46.0–54.0)", "40.0 (36.0–44.0)", "300.0 (296.0–304.0)", "1,234", "2 min 06 s",
        "5", "73.7 / 56.1",
    ]  # fmt: skip
    assert rows["local"] == ["`local`", "local nodes", "?", "?", "?", "?", "?", "–", "–"]
    assert "140 pictures and 700 captions" in text
    assert "as Nobody (1999) reports it, on nothing: other data" in text
    assert "test was evaluated once per variant, and nothing was chosen by it" in text.replace("\n", " ")


def test_an_ensemble_adds_its_members_up(paths):
    for name in ("saf", "local", "both"):
        write_card(paths, name)
    _, rows = cells(paths)
    assert rows["both"][5:7] == ["2,468", "4 min 11 s"]


def test_a_failed_row_says_why_and_the_others_stay(paths):
    write_card(paths, "saf")
    _, rows = cells(paths, {"local": "the loss became nan | really"})
    assert rows["local"][1] == r"local nodes — **failed**: the loss became nan \| really"
    assert rows["saf"][2].startswith("50.0")


def test_a_card_of_other_weights_or_other_data_counts_as_missing(paths):
    write_card(paths, "saf")
    (paths.run(paths.sweep["saf"], 0) / "model.safetensors").write_text("trained again")
    write_card(paths, "local", fingerprint="e" * 64)
    _, rows = cells(paths)
    assert rows["saf"][2] == rows["local"][2] == "?"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"models": 3}'])
def test_a_broken_card_counts_as_missing(paths, text):
    write_card(paths, "saf")
    paths.card(paths.sweep["saf"], 0).write_text(text)
    assert cells(paths)[1]["saf"][2] == "?"


def test_several_seeds_are_a_mean_with_its_deviation(tmp_path):
    path = write_sweep(tmp_path, SWEEP.replace("variants:", "seeds: [0, 1, 2]\nvariants:"))
    paths = SweepPaths(tmp_path / "out", load(path), "test")
    for seed, r1 in ((0, 50.0), (1, 54.0)):
        write_card(paths, "saf", seed, r1)
    text, rows = cells(paths)
    assert rows["saf"][2] == "52.0 ± 2.8 (n = 2, 1 missing)"
    assert "Means over 3 seeds" in text
    assert paths.run(paths.sweep["saf"], 1) == tmp_path / "out" / "saf" / "seed-1"


def test_json_and_csv_hold_the_same_rows(paths):
    write_card(paths, "saf")
    cells(paths, {"local": "broke"})
    found = json.loads((paths.out / "table.json").read_text())
    (saf, local, both) = found["rows"]
    assert saf["runs"][0]["figures"] == {"i2t_r1": 50.0, "t2i_r1": 40.0, "rsum": 300.0}
    assert saf["reported"] == {"i2t_r1": 73.7, "t2i_r1": 56.1}
    assert (local["problem"], both["ensemble"]) == ("broke", ["saf", "local"])
    lines = list(csv.DictReader(io.StringIO((paths.out / "table.csv").read_text())))
    assert [line["variant"] for line in lines] == ["saf", "local", "both"]
    assert (lines[0]["i2t_r1"], lines[0]["i2t_r1_low"], lines[0]["seconds"]) == ("50.0", "46.0", "125.5")
    assert (lines[1]["i2t_r1"], lines[1]["problem"]) == ("", "broke")


def test_another_split_has_a_table_of_its_own_and_dev_s_says_that_it_chose(tmp_path):
    paths = SweepPaths(tmp_path / "out", load(write_sweep(tmp_path)), "dev")
    write_card(paths, "saf")
    text, rows = cells(paths)
    assert rows["saf"][2].startswith("50.0")
    assert "Weights were chosen on this split" in text
    assert (paths.out / "table-dev.md").exists() and not (paths.out / "table.md").exists()
    assert re.search(r"saf/card-dev\.json", (paths.out / "table-dev.json").read_text())
