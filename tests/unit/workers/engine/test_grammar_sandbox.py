"""Grammars are compiled one at a time, and known verdicts are returned at once.

A batch whose grammars exceed their limit gets less time for each; other batches do not.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from batchchat.jobs.errors import RequestRefusedError
from batchchat.workers.engine.grammar_process import Verdict
from batchchat.workers.engine.grammar_sandbox import GrammarSandbox

GOOD, BAD, SLOW = ("regex", "a"), ("regex", "("), ("regex", "slow")
BOMBS = [("regex", f"bomb {number}") for number in range(100)]


class FakeCompiler:
    """Records the grammars and their limits; `SLOW` takes until `finish` is set."""

    def __init__(self):
        self.compiled = []
        self.limits = []
        self.began, self.finish = Event(), Event()

    def compile(self, grammar, seconds):
        self.compiled.append(grammar)
        self.limits.append(seconds)
        if grammar == SLOW:
            self.began.set()
            assert self.finish.wait(30)
        if grammar in BOMBS:
            return Verdict("it is bad", seconds)
        return Verdict("it is bad" if grammar == BAD else None)

    def close(self):
        pass


@pytest.fixture
def compiler():
    return FakeCompiler()


@pytest.fixture
def sandbox(compiler):
    return GrammarSandbox(compiler)


def assert_refused(sandbox, grammar=BAD, batch="b"):
    with pytest.raises(RequestRefusedError, match="it is bad") as raised:
        sandbox.check(grammar, "x", batch)
    assert raised.value.param == "x"


def test_known_verdict_is_returned_while_another_grammar_compiles(sandbox, compiler):
    sandbox.check(GOOD, "x", "b")
    assert_refused(sandbox)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(sandbox.check, SLOW, "x", "b")
        assert compiler.began.wait(30)
        try:
            sandbox.check(GOOD, "x", "b")
            assert_refused(sandbox)
            assert not slow.done()
        finally:
            compiler.finish.set()
    assert compiler.compiled == [GOOD, BAD, SLOW]


def test_concurrent_checks_of_one_grammar_compile_it_once(sandbox, compiler):
    with ThreadPoolExecutor(4) as pool:
        checks = [pool.submit(sandbox.check, SLOW, "x", "b") for _ in range(4)]
        assert compiler.began.wait(30)
        compiler.finish.set()
    assert [check.result() for check in checks] == [None] * 4
    assert compiler.compiled == [SLOW]


def test_each_stopped_grammar_halves_the_limit_of_its_batch(sandbox, compiler):
    for bomb in BOMBS:
        assert_refused(sandbox, bomb)
    assert compiler.limits[:3] == [10, 5, 2.5]
    assert sum(compiler.limits) < 20 + 0.25 * len(BOMBS)
    sandbox.check(GOOD, "x", "b")
    assert compiler.limits[-1] == 0.25


def test_invalid_grammar_does_not_lower_the_limit(sandbox, compiler):
    assert_refused(sandbox, BAD)
    sandbox.check(GOOD, "x", "b")
    assert compiler.limits == [10, 10]


def test_stopped_grammars_do_not_lower_the_limit_of_other_batches(sandbox, compiler):
    for bomb in BOMBS:
        assert_refused(sandbox, bomb, "a")
    sandbox.check(GOOD, "x", "b")
    assert compiler.limits[-1] == 10


def test_stopped_grammar_is_compiled_again_only_with_a_higher_limit(sandbox, compiler):
    for bomb in BOMBS[:3]:
        assert_refused(sandbox, bomb, "a")
    for batch in ("a", "b", "b", "a"):
        assert_refused(sandbox, BOMBS[2], batch)
    assert compiler.compiled == [*BOMBS[:3], BOMBS[2]]
    assert compiler.limits[-2:] == [2.5, 10]
