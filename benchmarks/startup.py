"""CPU time of `import crossgraph` and `crossgraph --help`, beside the limit and beside Python alone.

Run: python benchmarks/startup.py
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

LIMIT = 0.3
TIMES = 15

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import crossgraph": ["-c", "import crossgraph"],
    "crossgraph --help": ["-m", "crossgraph", "--help"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """Run Python once and return the processor time it took, user and system, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> dict[str, float]:
    """Return the median of every command, taken in turn so that a busy machine slows all alike."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(TIMES):
        for name, arguments in COMMANDS.items():
            taken[name].append(cpu_seconds(arguments))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def main() -> int:
    """Print the table; the exit code is 1 where a command is over the limit."""
    medians = measure()
    bare = medians["python -c pass"]
    print(f"{'':20} {'CPU s':>7} {'of bare':>8} {'limit':>6}   median of {TIMES}")
    for name, seconds in medians.items():
        print(f"{name:20} {seconds:7.3f} {seconds / bare:7.1f}x {LIMIT:6.1f}")
    return int(max(medians.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
