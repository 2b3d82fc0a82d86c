"""Whatever a person can get wrong about `extract` is one line, code 2, and nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import references.tiny_regions  # noqa: F401  registers "tiny"
from PIL import Image

from crossgraph.cli.main import main


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (10, 8), (9, 9, 9)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def extract(capsys, *words):
    """Return the exit code, stdout, and the one line on stderr (or nothing)."""
    code = main(["extract", *map(str, words), "--encoder", "tiny"])
    said = capsys.readouterr()
    assert len(said.err.strip().splitlines()) == (1 if code else 0), said.err
    return code, said.out, said.err


def test_the_last_line_sums_up(photos, tmp_path, capsys):
    code, said, _ = extract(capsys, photos, "--out", tmp_path / "out")
    assert code == 0
    assert said.startswith(f"3 pictures × 4 × 6 → {tmp_path / 'out'}, ")
    assert said.rstrip().endswith("pictures/s")


def test_broken_pictures_come_after_it_with_their_reasons(photos, tmp_path, capsys):
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:50])
    (photos / "new\nline.jpg").write_text("text")
    code, said, _ = extract(capsys, photos, "--out", tmp_path / "out")
    assert code == 0
    lines = said.splitlines()
    assert lines[0].endswith("; 2 broken:")
    assert lines[1].startswith("  b.png: ")
    assert lines[2].startswith(r"  new\nline.jpg: not a picture")
    assert len(lines) == 3


def test_a_rerun_says_that_there_was_nothing_to_do(photos, tmp_path, capsys):
    extract(capsys, photos, "--out", tmp_path / "out")
    code, said, _ = extract(capsys, photos, "--out", tmp_path / "out")
    assert code == 0
    assert "nothing to do" in said


@pytest.mark.parametrize("name", ["missing", "empty", "text.txt", "only_broken"])
def test_pictures_that_are_none(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "only_broken").mkdir()
    (tmp_path / "only_broken" / "a.jpg").touch()
    code, _, line = extract(capsys, tmp_path / name, "--out", tmp_path / "out")
    assert code == 2
    assert str(tmp_path / name) in line
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_file(photos, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    code, _, line = extract(capsys, photos, "--out", tmp_path / "out")
    assert code == 2
    assert str(tmp_path / "out") in line
    assert (tmp_path / "out").read_text() == "mine"


def test_a_manifest_that_is_no_manifest(photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    for content in ("{", "[]", '{"format_version": 99}', "\0"):
        (tmp_path / "out" / "manifest.json").write_text(content)
        code, _, line = extract(capsys, photos, "--out", tmp_path / "out")
        assert code == 2
        assert "manifest.json" in line
        assert (tmp_path / "out" / "manifest.json").read_text() == content


@pytest.mark.parametrize("damage", ["truncated", "gone", "another shape"])
def test_a_damaged_shard_is_made_again(photos, tmp_path, capsys, damage):
    extract(capsys, photos, "--out", tmp_path / "out")
    wanted = np.load(tmp_path / "out" / "features-00000.npy")
    path = tmp_path / "out" / "features-00000.npy"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "gone":
        path.unlink()
    else:
        np.save(path, wanted[:2])
    code, said, _ = extract(capsys, photos, "--out", tmp_path / "out")
    assert code == 0
    assert "pictures/s" in said
    shard = json.loads((tmp_path / "out" / "manifest.json").read_text())["shards"][0]["file"]
    assert np.array_equal(np.load(tmp_path / "out" / shard), wanted)


@pytest.mark.parametrize(
    "words", [("--batch-size", "0"), ("--workers", "0"), ("--max-megapixels", "-1"), ("--precision", "float16")]
)
def test_options_that_cannot_be(photos, tmp_path, capsys, words):
    code, _, line = extract(capsys, photos, "--out", tmp_path / "out", *words)
    assert code == 2
    assert words[0] in line
    assert not (tmp_path / "out").exists()


def test_an_unknown_encoder(photos, tmp_path, capsys):
    assert main(["extract", str(photos), "--out", str(tmp_path / "out"), "--encoder", "efficientnet-lite"]) == 2
    assert "did you mean 'efficientnet-lite0'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


_LIMITED = """
import resource, sys
import references.tiny_regions, crossgraph.data.extraction, crossgraph.cli.signature
from crossgraph.cli.main import main
limit = int(sys.argv.pop(1))  # only now, or Python's own caches would be cut short as well
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(photos, tmp_path, root):
    """A limit on file sizes stands for the full disk: the write fails midway just so."""
    words = ["extract", str(photos), "--out", str(tmp_path / "out"), "--encoder", "tiny"]

    def run(limit):
        command = [sys.executable, "-B", "-c", _LIMITED, str(limit), *words]
        environment = {**os.environ, "PYTHONPATH": str(root / "tests"), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    limited = run(200)
    assert limited.returncode == 2
    assert len(limited.stderr.strip().splitlines()) == 1
    assert "no room left" in limited.stderr
    assert not (tmp_path / "out").exists()
    assert run(1_000_000).stdout.startswith("3 pictures")


def test_a_folder_that_holds_something_else_is_left_alone(photos, tmp_path, capsys):
    for out in (photos, tmp_path / "run"):
        out.mkdir(exist_ok=True)
        (out / "run.json").write_text("{}")
        before = sorted(path.name for path in out.iterdir())
        code, _, line = extract(capsys, photos, "--out", out)
        assert code == 2
        assert "holds other files" in line
        assert sorted(path.name for path in out.iterdir()) == before
