"""What the server's tests share: a tiny library, made once, and an application in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from references.tiny_served import draw, draw_special, make_library

from crossgraph.library.library import Library
from crossgraph.serve.app import create_app
from crossgraph.serve.service import Service
from crossgraph.serve.settings import ServeSettings

HOST = "http://127.0.0.1:8000"
Start = Callable[..., TestClient]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pictures` and `library`; not to be changed."""
    folder = tmp_path_factory.mktemp("served")
    draw_special(draw(folder / "pictures"))
    make_library(folder / "library", folder / "pictures")
    return folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """The same with a library of its own, whose pictures still lie in `made`."""
    shutil.copytree(made / "library", tmp_path / "library")
    return tmp_path


@pytest.fixture
def start(own: Path) -> Iterator[Start]:
    """Start an application; settings by name."""
    with ExitStack() as stack:

        def call(folder: Path = own / "library", base_url: str = HOST, **settings: Any) -> TestClient:
            service = Service(Library(folder), ServeSettings(**settings), base_url)
            client = TestClient(create_app(service), base_url=base_url, follow_redirects=False)
            return stack.enter_context(client)

        yield call


@pytest.fixture
def client(start: Start) -> TestClient:
    """An application that asks for no token."""
    return start()
