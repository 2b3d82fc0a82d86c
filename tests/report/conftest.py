"""A report on two small runs, made once."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest
from references.tiny_world import write_run, write_world

from crossgraph.report.writer import ReportRequest, write_report

WHEN = datetime.datetime(2026, 5, 4, 3, 2, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world") / "zoo")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, world: Path) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / "one", "sgr", world), write_run(folder / "two", "saf", world, log=False)]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, runs: list[Path]) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    job = ReportRequest(runs, out, queries=["0", "a red dog on a horse", "pictures/3.png"], worst=2)
    return write_report(job, lambda line: None, when=WHEN).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def pairs(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
