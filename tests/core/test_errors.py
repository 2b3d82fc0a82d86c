"""An input error is one sentence, survives a worker process, and suggests the nearest name."""

from __future__ import annotations

import pickle

from crossgraph.core.errors import InputError, did_you_mean


def test_the_message_is_the_problem_then_the_remedy():
    assert str(InputError("a.npy: 3 rows", "give 4")) == "a.npy: 3 rows: give 4"
    assert str(InputError("a.npy: 3 rows")) == "a.npy: 3 rows"


def test_it_travels_between_processes():
    error = pickle.loads(pickle.dumps(InputError("a.npy: 3 rows", "give 4")))
    assert (error.problem, error.remedy) == ("a.npy: 3 rows", "give 4")


def test_a_near_name_is_suggested_and_far_ones_are_listed():
    assert did_you_mean("sfa", ["sgr", "saf"]) == "did you mean 'saf'?"
    assert did_you_mean("transformer", ["sgr", "saf"]) == "known: saf, sgr"
