"""A server killed at any moment, also while it indexes: nothing that was reported done is lost; the next goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from references.tiny_served import Served, draw, make_library

from crossgraph.core.errors import InputError
from crossgraph.library import maintenance
from crossgraph.library.library import Library
from crossgraph.serve.client import ask, follow, send_json

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_while_indexing_and_searching(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    pictures = draw(tmp_path / "pictures", 5)
    library = make_library(tmp_path / "library", pictures)
    draw(pictures / "more", 120, seed=1)
    with Served(library, environment={"TINY_SECONDS": "0.01"}) as served:
        job = send_json(served.address, "/api/index", {})
        done: list[int] = []

        def watch() -> None:
            with contextlib.suppress(InputError):
                done.extend(progress["done"] for progress in follow(served.address, job["id"]))

        watching = threading.Thread(target=watch)
        watching.start()
        until = time.monotonic() + dice.uniform(0.1, 1.5)
        while time.monotonic() < until:
            assert ask(served.address, "/api/search", {"q": "dog", "k": 3})["hits"]
        os.kill(served.process.pid, signal.SIGKILL)
        watching.join()
        served.end()
    with Served(library) as again:
        kept = ask(again.address, "/api/library")["pictures"]
        assert kept >= 5 + max(done, default=0)
        job = send_json(again.address, "/api/index", {})
        *_, last = follow(again.address, job["id"])
        assert last["outcome"]["pictures"] == 125
        assert ask(again.address, "/api/search", {"q": "dog", "k": 200})["total"] == 125
        assert again.end()[0] == 130
    with Library(library) as opened:
        assert maintenance.verify(opened, lambda *_: None).sound


def test_a_client_that_goes_away_in_the_middle_does_no_harm(tmp_path: Path) -> None:
    library = make_library(tmp_path / "library", draw(tmp_path / "pictures", 5))
    with Served(library) as served:
        for seconds in (0.001, 0.005, 0.02):
            with pytest.raises(InputError):
                ask(served.address, "/api/search", {"q": "dog", "k": 1000, "explain": True}, timeout=seconds / 1000)
        assert len(ask(served.address, "/api/search", {"q": "dog"})["hits"]) == 5
        code, said = served.end()
    assert code == 130
    assert "Traceback" not in said
