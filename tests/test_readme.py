"""Every command and code block of the README and of the guide runs, in order, in one folder.

A comment before a block may change how it is run here: `<!-- test: setup COMMANDS -->` runs first,
`<!-- test: replace "A" by "B" -->` makes it small, `<!-- test: skip; REASON -->` says where it is tested instead.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

COMMENT = re.compile(r"<!-- test: (.*?)-->", re.S)
BLOCK = re.compile(r"((?:<!-- test: .*?-->\s*)*)^```(\w*)\n(.*?)^```", re.S | re.M)


class Block(NamedTuple):
    language: str
    code: str
    setup: str
    skipped: str


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a page, changed as the comments before them ask."""
    found: list[Block] = []
    for comments, language, block in BLOCK.findall(text):
        code, setup, skipped = block, "", ""
        for asked in COMMENT.findall(comments):
            verb, rest = re.split(r"\s+", asked.strip(), maxsplit=1)
            if verb == "setup":
                setup = rest
            elif verb == "skip;":
                skipped = rest.strip()
            elif verb == "replace":
                old, new = re.findall(r'"(.*?)"', rest)
                assert old in code, f"nothing to replace: {old}"
                code = code.replace(old, new)
            else:
                raise AssertionError(f"unknown request: {asked}")
        found.append(Block(language, code, setup, skipped))
    return found


def run(language: str, code: str, folder: Path) -> None:
    """Run one block as a person would paste it, failing at its first failing line."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    ended = subprocess.run(
        [*command, code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 0, f"{code}\n{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"


def test_every_block_names_its_language_and_a_skip_its_reason(root: Path):
    found = blocks((root / "README.md").read_text(encoding="utf-8"))
    assert len(found) >= 5
    for block in found:
        assert block.language in ("bash", "python"), block.code
        assert not block.skipped or len(block.skipped) > 20


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_the_page_runs(page: str, root: Path, goldens: Path, tmp_path: Path):
    for block in blocks((root / page).read_text(encoding="utf-8")):
        if block.setup:
            run("bash", block.setup.replace("GOLDENS", str(goldens)), tmp_path)
        if not block.skipped:
            run(block.language, block.code, tmp_path)


def test_every_link_to_a_file_leads_somewhere(root: Path):
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not re.match(r"\w+:", target):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def code_of(page: Path) -> str:
    """Return what stands between backticks on a page."""
    return "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", page.read_text(encoding="utf-8"), re.S | re.M))


def test_commands_named_in_the_pages_exist(root: Path):
    from crossgraph.cli.main import commands

    for page in [root / "README.md", root / "CHANGELOG.md", *(root / "docs").rglob("*.md")]:
        for name in re.findall(r"(?:`|^)crossgraph ([a-z][\w-]*)", code_of(page), re.M):
            assert name in commands(), f"{page.name}: crossgraph {name}"
