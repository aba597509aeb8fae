"""The protocol holds under every fault that there is; bugs put in are found."""

from datetime import UTC, datetime

import pytest

from tests.simulation.fault_profile import FaultProfile
from tests.simulation.mutations import HARMLESS, MUTATIONS
from tests.simulation.simulate import simulate

# A killed process leaves its temporary files to the operating system.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")

_BLOCK = 100
_FIXED_BLOCKS = 3
_BLOCKS_TODAY = 2
_EXTENDED_BLOCKS_TODAY = 200
_SEARCH = 1000
"""Seeds that are tried until one finds a bug that was put in."""

_FOUND = (2482, 14798980004)
"""Seeds that once found what no other test does."""

_EXTENDED = [
    pytest.param(block, marks=pytest.mark.extended)
    for block in range(_BLOCKS_TODAY, _EXTENDED_BLOCKS_TODAY)
]


@pytest.mark.parametrize("block", range(_FIXED_BLOCKS))
def test_every_request_is_answered_once_whatever_happens(block):
    for seed in range(block * _BLOCK, (block + 1) * _BLOCK):
        assert_well(simulate(seed))


@pytest.mark.parametrize("seed", _FOUND)
def test_a_seed_that_found_a_bug_finds_none_now(seed):
    assert_well(simulate(seed))


@pytest.mark.parametrize("block", [*range(_BLOCKS_TODAY), *_EXTENDED])
def test_todays_seeds_find_no_fault(block):
    first = (today() * _EXTENDED_BLOCKS_TODAY + block) * _BLOCK
    for seed in range(first, first + _BLOCK):
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


def today():
    """Return the number of the day, in UTC: each day tries seeds of its own."""
    return datetime.now(UTC).toordinal()


def assert_well(story, options=""):
    again = f"make simulate ARGS='--seed {story.seed} {options}'"
    assert not story.problems, "\n".join([again, *story.problems])
