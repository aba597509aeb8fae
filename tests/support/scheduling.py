"""Which tests share a pytest-xdist worker, and which of them start first.

A module's tests stay together, because they share the module's fixtures. The modules
of one group stay together too, because they share something that takes long to start,
such as an engine. What takes longest starts first, so that no worker ends alone.
"""

from collections import Counter
from collections.abc import Iterable

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

_GROUPS = {
    "tests/conformance/": "server",
    "tests/integration/test_effects.py": "demo engine",
    "tests/integration/test_run_batch.py": "demo engine",
    "tests/integration/test_structured_outputs.py": "demo engine",
    "tests/integration/test_vllm_chat.py": "demo engine",
    "tests/integration/test_vllm_engine.py": "demo engine",
}
"""The group of each module whose path starts so; other modules are alone in theirs."""

_SPLIT = ("tests/simulation/test_simulation.py", "tests/unit/workers/test_runner.py")
"""Modules whose tests take long and share no fixture: each test is its own group."""

_LONGEST_FIRST = (
    # Before the shared demo engine: vLLM creates the group of experts only once.
    "tests/integration/test_architectures.py",
    "tests/chaos/",
    "tests/acceptance/test_recovery.py",
    "tests/tenancy/test_prefix_cache.py",
    "tests/integration/test_",
    "tests/conformance/",
    "tests/acceptance/",
    "tests/simulation/",
    "tests/api/",
)
"""The order in which groups start, by what their modules' paths start with."""


def group_of(nodeid: str) -> str:
    """Return the group of the test with this node id."""
    module = nodeid.partition("::")[0]
    if module in _SPLIT:
        return nodeid
    found = (group for path, group in _GROUPS.items() if module.startswith(path))
    return next(found, module)


def position(nodeid: str) -> int:
    """Return when the test's group starts, compared with those of other tests."""
    found = (n for n, path in enumerate(_LONGEST_FIRST) if nodeid.startswith(path))
    return next(found, len(_LONGEST_FIRST))


def seconds_by_tier(reports: Iterable[pytest.TestReport]) -> Counter[str]:
    """Return the seconds that tests and their fixtures took, by folder of tests/."""
    seconds: Counter[str] = Counter()
    for report in reports:
        tier = report.nodeid.removeprefix("tests/").partition("/")[0]
        seconds[tier] += report.duration  # type: ignore[assignment]
    return seconds


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each worker whole groups, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
