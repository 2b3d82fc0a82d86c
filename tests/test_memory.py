"""Large matrices are kept in files whose space is reserved; freed memory is returned where the C library can."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crossgraph import memory
from crossgraph.core.errors import InputError
from crossgraph.memory import empty_matrix, release_pages, trim_heap


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_library_that_cannot_is_left_alone(monkeypatch, error):
    def refused(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refused)
    trim_heap()


def test_the_c_library_is_asked_for_all_of_it(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=asked.append))
    trim_heap()
    assert asked == [0]


def test_a_large_matrix_without_room_is_refused_before_any_score(monkeypatch):
    """A limit on file sizes stands for the full disk; written to later, a map would end the program by a signal."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(memory, "MATRIX_BYTES", 8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot hold 1,024 × 512 scores \(2,097,152 bytes\).*TMPDIR"):
            empty_matrix((1024, 512))
        assert empty_matrix((512, 512)).shape == (512, 512)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def resident_kilobytes():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell the memory of a program in /proc")
    return int(status.read_text().split("VmRSS:")[1].split()[0])


def test_what_lies_in_a_file_is_let_go_of_and_read_again(monkeypatch):
    monkeypatch.setattr(memory, "MATRIX_BYTES", 8)
    matrix = empty_matrix((1000, 10_000))
    matrix[:] = np.arange(10_000)
    before = resident_kilobytes()
    release_pages(matrix[3:].T)
    assert before - resident_kilobytes() > 30_000
    assert (matrix[::250] == np.arange(10_000)).all()


def test_what_lies_in_memory_stays():
    matrix = empty_matrix((3, 4))
    matrix[:] = 1
    release_pages(matrix)
    assert matrix.sum() == 12
