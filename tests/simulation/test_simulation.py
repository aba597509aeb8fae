"""The protocol holds under every fault that there is; bugs put in are found."""

import pytest

from tests.simulation.fault_profile import FaultProfile
from tests.simulation.mutations import HARMLESS, MUTATIONS
from tests.simulation.simulate import simulate

# A killed process leaves its temporary files to the operating system.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")

_BLOCK = 100
_BLOCKS = 15
_SEARCH = 1000
"""Seeds that are tried until one finds a bug that was put in."""


@pytest.mark.parametrize("block", range(_BLOCKS))
def test_every_request_is_answered_once_whatever_happens(block):
    for seed in range(block * _BLOCK, (block + 1) * _BLOCK):
        assert_well(simulate(seed))


def test_a_seed_is_the_same_run_each_time():
    assert simulate(7) == simulate(7)


def test_two_of_everything_at_once_do_no_harm():
    for seed in range(_BLOCK):
        assert_well(simulate(seed, FaultProfile.racing), "--racing")


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_bug_that_is_put_in_is_found(name):
    made, drawn, first = MUTATIONS[name]
    with made():
        assert any(simulate(s, drawn).problems for s in (first, *range(_SEARCH)))


@pytest.mark.parametrize("name", HARMLESS)
def test_what_decides_nothing_may_be_broken(name):
    with HARMLESS[name]():
        for seed in range(40):
            assert_well(simulate(seed))


def assert_well(story, options=""):
    again = f"make simulate ARGS='--seed {story.seed} {options}'"
    assert not story.problems, "\n".join([again, *story.problems])
