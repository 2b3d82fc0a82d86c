"""What keeps the repository pleasant: one direction of imports, small files, a small core."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

FORBIDDEN = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}


def sources(root: Path) -> list[Path]:
    return sorted((root / "src").rglob("*.py"))


def committed(root: Path) -> list[Path]:
    """Return the files git knows, or skip where the tests run outside a checkout (an unpacked archive)."""
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    return [root / name for name in names.split("\0") if name and (root / name).is_file()]


def settings(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_imports_go_one_way(root: Path):
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert "1 kept, 0 broken" in ended.stdout


def test_the_layers_name_everything_that_exists(root: Path):
    layers = settings(root)["tool"]["importlinter"]["contracts"][0]["layers"]
    named = set(re.findall(r"\w+", " ".join(layers)))
    package = root / "src" / "crossgraph"
    present = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert present - {"__init__", "__main__"} <= named


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_files_are_short_and_named_after_what_they_hold(root: Path, folder: str):
    for path in sorted((root / folder).rglob("*.py")):
        assert path.stem not in FORBIDDEN, f"{path}: a name that could hold anything"
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines < 400, f"{path}: {lines} lines"


def test_functions_fit_a_screen_and_take_no_bags_of_arguments(root: Path):
    for path in sources(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length < 50, f"{path}:{node.lineno} {node.name}: {length} lines"
            public = not node.name.startswith("_")
            assert not (public and node.args.kwarg), f"{path}:{node.lineno} {node.name} takes **{node.args.kwarg.arg}"


def test_every_module_says_what_it_is(root: Path):
    for path in sources(root):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


def test_no_two_test_files_share_a_place(root: Path):
    for path in (root / "tests").rglob("test_*.py"):
        assert not (path.parent / "__init__.py").exists(), f"{path.parent}: tests are not a package"


def test_nothing_heavy_or_foreign_is_committed(root: Path):
    for path in committed(root):
        assert path.stat().st_size < 3_000_000, f"{path}: too large to commit"
        inside = path.relative_to(root).as_posix()
        assert path.suffix.lower() not in (".jpg", ".jpeg") or inside.startswith("docs/"), f"{inside}: a photo?"


def test_text_names_no_folder_of_one_machine(root: Path):
    for path in committed(root):
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".json", ".txt", "") and "goldens" not in path.parts:
            text = path.read_text(encoding="utf-8", errors="replace")
            found = re.search(r"(?<![\w.])/(?:work|root|home)/\w+", text)
            assert not found, f"{path}: {found[0]}"


def test_what_is_pinned_was_tested_and_covers_every_dependency(root: Path):
    project = settings(root)["project"]
    pins = dict(line.split("==") for line in (root / "constraints.txt").read_text().split())
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    assert pins["torch"] == "2.13.0"
    assert not [name for name in pins if name.startswith("nvidia")]
    assert all(re.fullmatch(r"[\w.]+", version) for version in pins.values()), "plain versions only"
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    for requirement in wanted:
        name = re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-")
        assert name in pins or name == "crossgraph", f"{requirement} is not pinned"
    assert "torch>=2.6" in project["dependencies"]


_CORE_ONLY = """
import importlib, importlib.metadata as metadata, pkgutil, re, sys

def closure(name, seen):
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return seen
    try:
        needs = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return seen
    seen.add(key)
    for need in needs:
        head, _, marker = need.partition(";")
        if "extra" not in marker:
            closure(re.match(r"[\\w.-]+", head)[0], seen)
    return seen

core = closure("crossgraph", set())
owners = metadata.packages_distributions()
class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        mine = {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners.get(top, [])}
        if mine and not mine & core:
            raise ModuleNotFoundError(f"No module named '{name}' (not a core dependency)", name=top)
sys.meta_path.insert(0, Absent())
assert "lightning-fabric" not in core and "torch" in core, sorted(core)
import crossgraph
for module in pkgutil.walk_packages(crossgraph.__path__, "crossgraph."):
    if not module.name.endswith("__main__") and not module.name.startswith("crossgraph.serve."):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_every_module_imports_with_the_core_dependencies_alone(root: Path):
    """All but the server's, which is FastAPI through and through; `cli/serve.py` says how to install it."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", _CORE_ONLY], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert len(ended.stdout.split()) >= len(
        [path for path in sources(root) if path.stem not in ("__init__", "__main__") and path.parent.name != "serve"]
    )


def test_startup_stays_under_its_limit(root: Path):
    spec = importlib.util.spec_from_file_location("startup", root / "benchmarks" / "startup.py")
    assert spec and spec.loader
    startup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(startup)
    for arguments in startup.COMMANDS.values():
        assert min(startup.cpu_seconds(arguments) for _ in range(3)) < startup.LIMIT


def test_make_lists_its_targets_and_setting_up_needs_a_recent_python(root: Path):
    shown = subprocess.run(["make", "help"], cwd=root, check=True, capture_output=True, text=True).stdout
    for target in ("demo", "test", "clean"):
        assert f"make {target} " in shown
    line = ["make", "-n", "-B", "demo", "PIP_ARGS=--no-index-for-a-test", "VENV=elsewhere"]
    planned = subprocess.run(line, cwd=root, check=True, capture_output=True, text=True).stdout
    assert "-m venv --upgrade-deps elsewhere" in planned
    assert "--no-index-for-a-test" in planned
    assert "elsewhere/bin/crossgraph demo" in planned
