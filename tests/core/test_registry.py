"""A registry finds what the modules of a package register, and suggests near names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crossgraph.core.errors import InputError
from crossgraph.core.registry import Registry


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "made_up_layouts"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("LOADED = True")
    monkeypatch.syspath_prepend(tmp_path)
    return "made_up_layouts"


def test_the_package_is_imported_at_the_first_lookup_only(package: str):
    registry: Registry[int] = Registry("layout", package)
    registry.register("coco")(1)
    assert f"{package}.one" not in sys.modules
    assert list(registry) == ["coco"]
    assert f"{package}.one" in sys.modules
    assert registry["coco"] == 1
    assert "coco" in registry


def test_an_unknown_name_is_refused_with_the_nearest(package: str):
    registry: Registry[int] = Registry("layout", package)
    registry.register("coco")(1)
    with pytest.raises(InputError, match=r"unknown layout 'cocoa': did you mean 'coco'\?"):
        registry["cocoa"]


def test_registering_a_name_twice_warns(package: str):
    registry: Registry[int] = Registry("layout", package)
    registry.register("coco")(1)
    with pytest.warns(UserWarning, match="registered twice"):
        registry.register("coco")(2)
