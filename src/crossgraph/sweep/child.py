"""`python -m crossgraph.sweep.child WORDS`: runs `crossgraph WORDS`, and stops when its parent process ends.

A sweep that is killed cannot stop its trainings. So each has the reading end of a pipe as its stdin, and treats the end
of that as the signal to save and stop.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading


def _follow_parent() -> None:
    os.read(0, 1)  # not sys.stdin, whose lock would be held while Python shuts down
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_follow_parent, daemon=True).start()
    runpy.run_module("crossgraph", run_name="__main__", alter_sys=True)
