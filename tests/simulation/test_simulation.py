"""The protocol holds under every fault that there is; bugs put in are found."""

import pytest

from tests.simulation.mutations import HARMLESS, MUTATIONS
from tests.simulation.simulate import simulate

_BLOCK = 100
_BLOCKS = 20

FOUND = {
    74: "two attempts of one process held the same lease when Redis was emptied",
    118: "an innocent request was convicted of what an outage of the storage did",
    263: "a batch that was cancelled while it was planned could not be read",
    288: "an engine that was dead already was laid to who came later",
    542: "a batch that was refused while it expired had requests without results",
}


@pytest.mark.parametrize("block", range(_BLOCKS))
def test_every_request_is_answered_once_whatever_happens(block):
    for seed in range(block * _BLOCK, (block + 1) * _BLOCK):
        assert_well(simulate(seed))


def test_a_seed_is_the_same_run_each_time():
    assert simulate(7) == simulate(7)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_bug_that_is_put_in_is_found(name):
    mutation = MUTATIONS[name]
    with mutation.made():
        assert any(simulate(seed).problems for seed in mutation.seeds)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_decides_nothing_may_be_broken(name):
    with HARMLESS[name]():
        for seed in range(40):
            assert_well(simulate(seed))


def assert_well(story):
    again = f"make simulate ARGS='--seed {story.seed}'"
    assert not story.problems, "\n".join([again, *story.problems])
