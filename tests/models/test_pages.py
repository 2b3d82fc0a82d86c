"""Every model has a page: a drawing of the way of the data, what its docstring calls unusual, what is known of it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path

import pytest

from crossgraph.models.base import MODELS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "models").glob("*.md"))
FAMILY = {"sgr": "sgraf", "saf": "sgraf", "sgraf_ablations": "sgraf"}


def family(name: str) -> str:
    file = Path(inspect.getfile(MODELS[name])).stem
    return FAMILY.get(file, file).replace("_", "-")


@pytest.fixture(scope="module")
def docstrings():
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(name for name in MODELS if MODELS[name].__module__.startswith("crossgraph.")))
def test_every_model_has_a_page_that_names_it_and_recipes_for_every_data_set(name):
    page = ROOT / "docs" / "models" / f"{family(name)}.md"
    text = page.read_text()
    assert f"`{name}`" in text or page.stem == name, "the model's name"
    assert "\n```\n" in text, "a drawing"
    assert "## What the paper reports" in text
    assert "results.md" in text
    for data in ("f30k", "coco", "f8k", "scenes"):
        assert list((ROOT / "recipes").glob(f"{family(name)}*-{data}.yaml")), data


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_the_docstring_says(docstrings, page):
    text = page.read_text()
    assert "**What is unusual**\n\n- " in text
    assert docstrings.filled(text, ROOT) == text, "run: python docs/docstrings.py docs/models/*.md"


def test_an_outdated_page_is_told(docstrings, tmp_path, monkeypatch, capsys):
    (tmp_path / "m.py").write_text('"""M.\n\nWhat is unusual:\n- All\n  of it.\n"""\n')
    page = tmp_path / "m.md"
    page.write_text("# M\n<!-- docstring: m.py -->\nold\n<!-- end of docstring -->\nend\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["docstrings.py", "m.md", "--check"])
    assert docstrings.main() == 1
    assert "m.md" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["docstrings.py", "m.md"])
    assert docstrings.main() == 0
    written = "<!-- docstring: m.py -->\n**What is unusual**\n\n- All\n  of it.\n<!-- end of docstring -->\nend\n"
    assert page.read_text() == f"# M\n{written}"
