"""Models, region encoders and data layouts from outside the package: `crossgraph --plugin FILE.py COMMAND ...`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from references.tiny_library import write_pictures
from references.tiny_run import WORDS

NEEDED = "its model is of the plugin my_model.py, which is not loaded: pass it: crossgraph --plugin FILE.py"


def run(*words: object, folder: Path) -> tuple[int, str]:
    """Run the command line in a process of its own, since what a plugin registers stays registered."""
    environment = {name: value for name, value in os.environ.items() if name != "CROSSGRAPH_PLUGINS"}
    command = [sys.executable, "-m", "crossgraph", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def example(root: Path) -> Path:
    return root / "examples" / "my_model.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, example) -> Path:
    """A folder with photos, their features, and a run of the example's model."""
    folder = tmp_path_factory.mktemp("plugin")
    photos = write_pictures(folder / "photos", 24)
    lines = [f"{number:03}.png,a {WORDS[1 + number % 10]} runs over {WORDS[1 + number % 7]}" for number in range(24)]
    (photos / "captions.csv").write_text("\n".join(["image,caption", *lines]) + "\n")
    assert run("extract", photos, "--out", photos / "features", folder=folder)[0] == 0
    recipe = [example.with_suffix(".yaml"), "--small", "--data", "photos", "--out", "run"]
    code, said = run("--plugin", example, "train", *recipe, folder=folder)
    assert code == 0, said
    return folder


@pytest.mark.slow
def test_every_command_takes_a_model_from_outside(trained, example):
    for words in (
        ("evaluate", "run", "--data", "photos"),
        ("explain", "run", "photos/000.png", "a dog runs"),
        ("bundle", "run", "--data", "photos", "--out", "bundle", "--max-steps", "4"),
        ("index", "photos", "--model", "bundle", "--library", "library"),
        ("search", "a dog", "--library", "library"),
        ("train", example.with_suffix(".yaml"), "--small", "--devices", "2", "--data", "photos", "--out", "two"),
    ):
        code, said = run("--plugin", example, *words, folder=trained)
        assert code == 0, said
    code, said = run("search", "a dog", "--library", "library", folder=trained)
    assert code == 2
    assert NEEDED in said


@pytest.mark.slow
def test_a_run_is_refused_without_its_plugin_and_with_another_version(trained, example, tmp_path):
    code, said = run("evaluate", "run", "--data", "photos", folder=trained)
    assert (code, NEEDED in said, len(said.splitlines())) == (2, True, 1)
    changed = tmp_path / "my_model.py"
    changed.write_text(example.read_text() + "\n# another version\n")
    code, said = run("--plugin", changed, "evaluate", "run", "--data", "photos", folder=trained)
    assert code == 2
    assert "another version of the plugin my_model.py" in said


def test_no_code_is_loaded_because_a_run_names_it(trained, example):
    """The file lies beside the run, under the name that the run recorded."""
    copy = trained / "run" / "my_model.py"
    copy.write_text("raise SystemExit('loaded')\n")
    try:
        code, said = run("evaluate", "run", "--data", "photos", folder=trained)
    finally:
        copy.unlink()
    assert (code, NEEDED in said) == (2, True)


@pytest.mark.parametrize(
    ("plugin", "problem"),
    [
        ("missing.py", "--plugin missing.py: no such file"),
        ("no_such_module", "--plugin no_such_module: no such module"),
        ("broken.py", "cannot be imported at line 2 (ZeroDivisionError: division by zero)"),
        ("wrong.py", "cannot be imported at line 1 (SyntaxError: "),
        ("leaves.py", "cannot be imported at line 2 (SystemExit: 0)"),
        ("./notes.md", "--plugin ./notes.md: not a Python file"),
        ("", "--plugin names nothing"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_one_line(tmp_path, plugin, problem):
    (tmp_path / "broken.py").write_text("one = 1\none / 0\n")
    (tmp_path / "wrong.py").write_text("def (\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "notes.md").write_text("no code\n")
    code, said = run("--plugin", plugin, "models", folder=tmp_path)
    assert code == 2
    assert problem in said
    assert len(said.splitlines()) == 1


def test_two_files_of_one_name_are_two_plugins(tmp_path, example):
    """The second one would otherwise be passed over without a word."""
    words: list[object] = []
    for folder, name in (("a", "mean-cosine"), ("b", "other-cosine")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(example.read_text().replace("mean-cosine", name))
        words += ["--plugin", f"{folder}/mine.py"]
    said = run(*words, "models", folder=tmp_path)[1]
    assert "mean-cosine" in said
    assert "other-cosine" in said


@pytest.mark.parametrize("spoilt", [["my_model.py"], {"name": 3, "digest": "a"}, {"name": "my_model.py"}])
def test_a_spoilt_entry_of_a_run_is_one_line(trained, tmp_path, spoilt):
    shutil.copytree(trained / "run", tmp_path / "run")
    values = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(values | {"plugin": spoilt}))
    code, said = run("evaluate", "run", "--data", trained / "photos", folder=tmp_path)
    assert (code, "its entry 'plugin' is no name and digest" in said) == (2, True)


def test_a_data_layout_from_outside_is_read(tmp_path):
    (tmp_path / "layout.py").write_text(
        "from crossgraph.data.captioned import CaptionedPicture\n"
        "from crossgraph.data.opening import LAYOUTS\n"
        "@LAYOUTS.register('lines')\n"
        "def read(path, log):\n"
        "    if not (path / 'lines.txt').exists():\n"
        "        return None\n"
        "    rows = [line.split(': ') for line in (path / 'lines.txt').read_text().splitlines()]\n"
        "    return [CaptionedPicture((name,), (text,)) for name, text in rows]\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lines.txt").write_text("a.png: a dog\nb.png: a cat\n")
    said = run("--plugin", "layout.py", "parse", "data", folder=tmp_path)[1]
    without = run("parse", "data", folder=tmp_path)[1]
    assert "holds no captions" in without
    assert "holds no captions" not in said
