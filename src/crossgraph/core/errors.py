"""`InputError`: the error for mistakes that a user can make, printed as one line.

Whatever a person can cause (a wrong path, a file of another shape, a full disk) is raised as an
`InputError` whose message is one line: the file, the value, the remedy. The command line prints that
line and exits with code 2. Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Something given from outside cannot be used; the message says what, and what to do.

    Args:
        problem: What is wrong, naming the file and the value.
        remedy: What the person can do about it, as an imperative; optional.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}: {remedy}" if remedy else problem)

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str]]:
        """Survive the trip from a loader's worker process."""
        return type(self), (self.problem, self.remedy)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Name the known words closest to a mistyped one.

    Args:
        given: The word that was not recognised.
        known: The words that would have been.

    Returns:
        "did you mean 'saf'?" where something is close, else "known: saf, sgr".
    """
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"
