"""Memory that was freed goes back to the system between the phases of a long job."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Hand freed memory back.

    The C library keeps what threads have freed in a pool a thread, each as large as it once was; what the next phase
    takes comes on top of it. Other libraries than glibc are left alone.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
