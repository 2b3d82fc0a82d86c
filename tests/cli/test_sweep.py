"""`crossgraph sweep` at the keyboard: refusals before anything trains, and the whole way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from references.tiny_pairs import write_precomp
from references.tiny_sweep import SWEEP, write_sweep

from crossgraph.cli.main import main


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_precomp(tmp_path_factory.mktemp("data") / "tiny_precomp", {"train": 40, "dev": 8, "test": 8})


def words(sweep, data, out, *more):
    return ["sweep", str(sweep), "--data", str(data), "--out", str(out), "--device", "cpu", *more]


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "crossgraph", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def figures(out):
    rows = json.loads((out / "table.json").read_text())["rows"]
    return {row["name"]: [(run["seed"], run["figures"], run["intervals"]) for run in row["runs"]] for row in rows}


@pytest.mark.parametrize(
    "more, message",
    [
        (["--only", "saff"], "no variant 'saff': did you mean 'saf'"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--split", "tset"], "tset"),
        (["--epochs=0"], "epochs is 0"),
        (["--model.config.nodes=global"], "model.config.nodes 'global' leaves SAF one node"),
        (["--seed=1"], "list the seeds under 'seeds'"),
        (["--vocab", "none.json"], "none.json"),
        (["--features", "none"], "none"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(data, tmp_path, capsys, more, message):
    out = tmp_path / "out"
    assert main([*words(write_sweep(tmp_path), data, out), *more]) == 2
    wrong = capsys.readouterr().err.splitlines()[-1]
    assert wrong.startswith("crossgraph sweep: ") and message in wrong
    assert not out.exists()


def test_places_that_cannot_take_a_sweep_are_refused(data, tmp_path, capsys):
    sweep = write_sweep(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "taken" / "local").mkdir(parents=True)
    (tmp_path / "taken" / "local" / "thesis.txt").write_text("mine")
    for name, message in (("file", "is a file"), ("run", "is a run itself"), ("taken", "holds other files")):
        assert main(words(sweep, data, tmp_path / name)) == 2
        assert message in capsys.readouterr().err
    assert main(words(sweep, tmp_path / "nowhere", tmp_path / "out")) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "taken").rglob("*")) == ["local", "thesis.txt"]


def test_a_dry_run_shows_the_commands_and_touches_nothing(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*words(write_sweep(tmp_path), data, out, "--dry-run", "--small")]) == 0
    said = capsys.readouterr().out
    assert "local: train and evaluate" in said and "both: evaluate" in said
    assert "--small --out" in said and "--model.config.nodes=local" in said
    assert f"crossgraph evaluate {out / 'saf'} {out / 'local'}" in said
    assert not out.exists()


@pytest.fixture(scope="module")
def swept(data, tmp_path_factory):
    """A sweep that ran through, and what it printed."""
    folder = tmp_path_factory.mktemp("swept")
    run = start(*words(write_sweep(folder), data, folder / "out", "--jobs", "2"))
    said, wrong = run.communicate(timeout=300)
    assert run.returncode == 0, wrong
    return folder, said, wrong


@pytest.mark.slow
def test_every_row_is_trained_evaluated_and_in_the_table(swept):
    folder, said, wrong = swept
    assert said == (folder / "out" / "table.md").read_text()
    assert "?" not in "".join(line for line in said.splitlines() if line.startswith("| `"))
    for name in ("saf", "local"):
        assert {"run.json", "recipe.yaml", "card.json", "card.md", "log.csv"} <= {
            path.name for path in (folder / "out" / name).iterdir()
        }
        card = json.loads((folder / "out" / name / "card.json").read_text())
        assert figures(folder / "out")[name][0][1]["rsum"] == card["results"]["whole"]["figures"]["rSum"]
    ensemble = json.loads((folder / "out" / "both" / "card.json").read_text())
    assert ensemble["models"]["count"] == 2
    assert "saf: step" in wrong and (folder / "out" / "logs" / "saf.log").read_text()


@pytest.mark.slow
def test_what_is_finished_stays_and_what_was_changed_is_refused(swept, data, capsys):
    folder, said, _ = swept
    sweep, out = folder / "tiny-sweep.yaml", folder / "out"
    weights = (out / "saf" / "model.safetensors").stat().st_mtime_ns
    assert main(words(sweep, data, out)) == 0
    shown = capsys.readouterr()
    assert shown.out == said and "train" not in shown.err.replace("(train)", "")

    changed = folder / "changed.yaml"
    changed.write_text(SWEEP.replace("nodes: local}", "nodes: local, optimiser.lr: 0.5}"))
    assert main(words(changed, data, out)) == 2
    assert "local: was trained with optimiser.lr 0.0002, now it is 0.5" in capsys.readouterr().err
    assert main(words(changed, data, out, "--only", "saf")) == 0, "a row that is not asked for is not looked at"
    other = write_precomp(folder / "other_precomp", {"train": 30, "dev": 8, "test": 8})
    assert main(words(sweep, other, out)) == 2
    assert "was trained with other data than this (its train)" in capsys.readouterr().err
    (folder / "words.json").write_text((out / "saf" / "vocabulary.json").read_text().replace('"thing1"', '"thingy"'))
    assert main(words(sweep, data, out, "--vocab", str(folder / "words.json"))) == 2
    assert "(its vocabulary)" in capsys.readouterr().err
    assert (out / "saf" / "model.safetensors").stat().st_mtime_ns == weights


@pytest.mark.slow
def test_another_split_is_evaluated_without_training(swept, data, capsys):
    folder, _, _ = swept
    assert main(words(folder / "tiny-sweep.yaml", data, folder / "out", "--split", "dev")) == 0
    shown = capsys.readouterr()
    assert "dev split of 8 pictures" in shown.out and "flatters all variants" in shown.out.replace(
        "flatter ", "flatters "
    )
    assert ": train" not in shown.err
    assert (folder / "out" / "both" / "dev" / "card.json").exists()
    assert (folder / "out" / "table.md").exists()


@pytest.mark.slow
def test_one_failing_variant_does_not_lose_the_others(data, tmp_path):
    text = SWEEP.replace("{model.config.nodes: local}", "{optimiser.lr: 1.0e+30, collapse.action: stop}")
    out = tmp_path / "out"
    run = start(*words(write_sweep(tmp_path, text), data, out, "--epochs=2"))
    said, wrong = run.communicate(timeout=300)
    assert run.returncode == 2, wrong
    last = wrong.splitlines()[-1]
    assert last.startswith("crossgraph sweep: 2 of 3 variants failed (local, both); local: training broke at step")
    assert "Traceback" not in wrong
    rows = {line.split("`")[1]: line for line in said.splitlines() if line.startswith("| `")}
    assert "**failed**: training broke at step" in rows["local"]
    assert "**failed**: local is missing" in rows["both"]
    assert "?" not in rows["saf"]


def progress(out, name):
    return len(list((out / name / "checkpoint").glob("step-*")))


@pytest.mark.slow
@pytest.mark.parametrize("kind, code", [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)])
def test_stopped_or_killed_the_same_command_makes_the_same_table(swept, data, tmp_path, kind, code):
    straight, _, _ = swept
    sweep, out = write_sweep(tmp_path), tmp_path / "out"
    run = start(*words(sweep, data, out, "--only", "saf"))
    try:
        until = time.monotonic() + 120
        while not progress(out, "saf"):
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.005)
        run.send_signal(kind)
        _, wrong = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == code, wrong
    assert "?" in (out / "table.md").read_text()
    if kind == signal.SIGINT:
        assert "go on with: crossgraph sweep" in wrong.splitlines()[-1]

    again = start(*words(sweep, data, out, "--only", "saf"))
    _, wrong = again.communicate(timeout=300)
    assert again.returncode == 0, wrong
    assert figures(out)["saf"] == figures(straight / "out")["saf"]
    assert (out / "saf" / "model.safetensors").read_bytes() == (straight / "out/saf/model.safetensors").read_bytes()


@pytest.mark.slow
def test_two_sweeps_never_write_one_folder(data, tmp_path, capsys):
    sweep, out = write_sweep(tmp_path), tmp_path / "out"
    run = start(*words(sweep, data, out))
    try:
        while not (out / "table.md").exists():
            assert run.poll() is None
            time.sleep(0.005)
        run.send_signal(signal.SIGSTOP)
        assert main(words(sweep, data, out)) == 2
        assert f"another sweep writes here (process {run.pid})" in capsys.readouterr().err
    finally:
        run.send_signal(signal.SIGCONT)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=120)


def test_the_shipped_sweep_is_found_by_name_and_by_path(root, data, tmp_path, capsys):
    for name in ("ablations-sgraf", str(Path(root) / "recipes" / "ablations-sgraf.yaml")):
        assert main(words(name, data, tmp_path / "out", "--small", "--dry-run", "--only", "independent")) == 0
        said = capsys.readouterr().out
        assert said.count("crossgraph train") == 2 and said.count("crossgraph evaluate") == 3
