"""The protocol survives all simulated faults, and the simulation finds planted bugs."""

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
_MAX_SEEDS = 1000
"""Number of seeds to try until one finds a planted bug."""

_REGRESSION_SEEDS = (2482, 14798980004)
"""Seeds that found bugs which no other test found."""

_EXTENDED = [
    pytest.param(block, marks=pytest.mark.extended)
    for block in range(_BLOCKS_TODAY, _EXTENDED_BLOCKS_TODAY)
]


@pytest.mark.parametrize("block", range(_FIXED_BLOCKS))
def test_every_request_is_answered_exactly_once(block):
    for seed in range(block * _BLOCK, (block + 1) * _BLOCK):
        assert_no_problems(simulate(seed))


@pytest.mark.parametrize("seed", _REGRESSION_SEEDS)
def test_regression_seeds_find_no_bug(seed):
    assert_no_problems(simulate(seed))


@pytest.mark.parametrize("block", [*range(_BLOCKS_TODAY), *_EXTENDED])
def test_the_seeds_of_today_find_no_bug(block):
    first = (today() * _EXTENDED_BLOCKS_TODAY + block) * _BLOCK
    for seed in range(first, first + _BLOCK):
        assert_no_problems(simulate(seed))


def test_a_seed_determines_the_run():
    assert simulate(7) == simulate(7)


def test_duplicate_concurrent_work_is_safe():
    for seed in range(_BLOCK):
        assert_no_problems(simulate(seed, FaultProfile.racing), "--racing")


@pytest.mark.parametrize("draw", [FaultProfile.draw, FaultProfile.racing])
def test_deleting_ended_batches_affects_no_other(draw):
    for seed in range(_BLOCK // 2):
        option = "--deleting --racing" if draw == FaultProfile.racing else "--deleting"
        assert_no_problems(simulate(seed, draw, deletes=True), option)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_bug_is_found(name):
    made, draw, first = MUTATIONS[name]
    with made():
        assert any(simulate(s, draw).problems for s in (first, *range(_MAX_SEEDS)))


@pytest.mark.parametrize("name", HARMLESS)
def test_broken_hints_do_not_affect_results(name):
    with HARMLESS[name]():
        for seed in range(40):
            assert_no_problems(simulate(seed))


def today():
    """Return the number of the day in UTC: each day tries other seeds."""
    return datetime.now(UTC).toordinal()


def assert_no_problems(result, options=""):
    again = f"make simulate ARGS='--seed {result.seed} {options}'"
    assert not result.problems, "\n".join([again, *result.problems])
