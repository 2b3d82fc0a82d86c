"""What was freed goes back to the system, where the C library can do that; elsewhere nothing happens."""

from __future__ import annotations

import ctypes

import pytest

from crossgraph.scoring.allocation import give_back


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_library_that_cannot_is_left_alone(monkeypatch, error):
    def refused(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refused)
    give_back()


def test_the_system_s_own_library_is_asked():
    give_back()
