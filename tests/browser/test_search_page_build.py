"""The built page: what is committed is what the source makes, small, and asks no other machine."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path("src") / "crossgraph" / "serve" / "page"
LARGEST_SCRIPT = 120_000  # bytes, gzipped


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unavailable(reason: str) -> None:
    if os.environ.get("CROSSGRAPH_REQUIRE_NODE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def test_what_is_committed_is_what_the_source_makes(root: Path, tmp_path: Path):
    vite = root / "web" / "node_modules" / "vite" / "bin" / "vite.js"
    node = shutil.which("node")
    if node is None or not vite.is_file():
        unavailable("node and web/node_modules are not there: install Node 20, then npm ci in web/")
    locked = json.loads((root / "web" / "package-lock.json").read_text())["packages"]
    installed = json.loads((vite.parents[1] / "package.json").read_text())["version"]
    if installed != locked["node_modules/vite"]["version"]:
        unavailable(f"web/node_modules has another vite, {installed}: npm ci in web/")
    command = [str(node), str(vite), "build", "--outDir", str(tmp_path / "page"), "--logLevel", "warn"]
    ended = subprocess.run(command, cwd=root / "web", capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert files(tmp_path / "page") == files(root / PAGE), "build it again: npm run build in web/"


def test_the_source_has_sound_types(root: Path):
    compiler = root / "web" / "node_modules" / "typescript" / "bin" / "tsc"
    node = shutil.which("node")
    if node is None or not compiler.is_file():
        unavailable("node and web/node_modules are not there: install Node 20, then npm ci in web/")
    ended = subprocess.run([str(node), str(compiler), "--noEmit"], cwd=root / "web", capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_the_script_is_small(root: Path):
    scripts = [data for name, data in files(root / PAGE).items() if name.endswith(".js")]
    assert sum(len(gzip.compress(script)) for script in scripts) < LARGEST_SCRIPT


def test_the_page_names_no_other_machine_and_nothing_that_the_policy_forbids(root: Path):
    built = files(root / PAGE)
    assert {"index.html", "assets/page.js", "assets/page.css", "assets/theme.js", "assets/icon.svg"} == set(built)
    for name, data in built.items():
        addresses = set(re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+", data.decode()))
        assert addresses <= {"http://www.w3.org"}, name
    page = built["index.html"].decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    script = built["assets/page.js"].decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)


def test_sources_are_short_and_the_lock_names_no_registry(root: Path):
    for path in sorted((root / "web" / "src").iterdir()):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 400, path
    lock = json.loads((root / "web" / "package-lock.json").read_text(encoding="utf-8"))
    resolved = {package.get("resolved", "https://registry.npmjs.org/") for package in lock["packages"].values()}
    assert all(address.startswith("https://registry.npmjs.org/") for address in resolved)
