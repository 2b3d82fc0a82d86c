"""What was freed goes back to the system, where the C library can do that; elsewhere nothing happens."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from crossgraph.scoring.allocation import give_back


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_library_that_cannot_is_left_alone(monkeypatch, error):
    def refused(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refused)
    give_back()


def test_the_c_library_is_asked_for_all_of_it(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=asked.append))
    give_back()
    assert asked == [0]
