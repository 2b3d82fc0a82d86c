"""`crossgraph index` killed at any moment loses nothing that it reported done, and the next run mends the rest."""

from __future__ import annotations

import random

import pytest
from references.index_kill import STATES, World, killed

pytestmark = pytest.mark.slow

MOMENTS = 20


@pytest.mark.parametrize("engine", ["edge"])
def test_killed_at_random_moments_it_ends_as_an_undisturbed_one(tmp_path, engine):
    world = World(tmp_path, engine)
    drawn = random.Random()
    lengths = {state: world.length(state) for state in STATES}
    running = 0
    for number in range(MOMENTS):
        state = STATES[number % len(STATES)]
        found = killed(world, state, f"killed{number}", drawn.uniform(0, lengths[state]))
        assert not found["lost"], found
        assert not found["differs"], found
        running += not found["finished"]
        lengths[state] *= 0.9 if found["finished"] else 1.0
    world.close()
    assert running >= MOMENTS // 4, "some were killed while they ran"
