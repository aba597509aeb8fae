"""Grammars are tried one after the other, and what is known waits for none.

A batch whose grammars take too long gets less time for each, and no other does.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from operator import is_
from threading import Event
from types import SimpleNamespace as Bag

import pytest

from batchchat.jobs.errors import EngineError, RequestRefusedError
from batchchat.workers.engine import grammar_sandbox
from batchchat.workers.engine.grammar_sandbox import GrammarSandbox, Verdict

GOOD, BAD, SLOW = ("regex", "a"), ("regex", "("), ("regex", "slow")
BOMBS = [("regex", f"bomb {number}") for number in range(100)]


class Held(GrammarSandbox):
    """Tries without a child; one grammar takes until it is let go."""

    def __init__(self):
        super().__init__(None, 0)
        self.tried = []
        self.given = []
        self.began, self.go = Event(), Event()

    def _tried(self, grammar, seconds):
        self.tried.append(grammar)
        self.given.append(seconds)
        if grammar == SLOW:
            self.began.set()
            assert self.go.wait(30)
        if grammar in BOMBS:
            return Verdict("it is bad", seconds)
        return Verdict("it is bad" if grammar == BAD else None)


def refuse(check, grammar=BAD, batch="b"):
    with pytest.raises(RequestRefusedError, match="it is bad") as raised:
        check.check(grammar, "body.x", batch)
    assert raised.value.param == "body.x"


def test_what_is_known_does_not_wait_for_what_is_tried():
    check = Held()
    check.check(GOOD, "body.x", "b")
    refuse(check)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(check.check, SLOW, "body.x", "b")
        assert check.began.wait(30)
        try:
            check.check(GOOD, "body.x", "b")
            refuse(check)
            assert not slow.done()
        finally:
            check.go.set()
    assert check.tried == [GOOD, BAD, SLOW]


def test_who_waits_for_a_grammar_that_is_tried_does_not_try_it_again():
    check = Held()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(check.check, SLOW, "body.x", "b") for _ in range(4)]
        assert check.began.wait(30)
        check.go.set()
    assert [one.result() for one in asked] == [None] * 4
    assert check.tried == [SLOW]


def test_thousands_of_bombs_in_a_batch_get_little_more_time_than_one():
    check = Held()
    for bomb in BOMBS:
        refuse(check, bomb)
    assert check.given[:3] == [10, 5, 2.5]
    assert sum(check.given) < 20 + 0.25 * len(BOMBS)
    check.check(GOOD, "body.x", "b")
    assert check.given[-1] == 0.25


def test_what_can_t_be_compiled_is_no_bomb():
    check = Held()
    refuse(check, BAD)
    check.check(GOOD, "body.x", "b")
    assert check.given == [10, 10]


def test_bombs_of_one_batch_take_no_time_from_another():
    check = Held()
    for bomb in BOMBS:
        refuse(check, bomb, "a")
    check.check(GOOD, "body.x", "b")
    assert check.given[-1] == 10


def test_a_bomb_is_tried_again_only_by_a_batch_that_gives_it_more_time():
    check = Held()
    for bomb in BOMBS[:3]:
        refuse(check, bomb, "a")
    for batch in ("a", "b", "b", "a"):
        refuse(check, BOMBS[2], batch)
    assert check.tried == [*BOMBS[:3], BOMBS[2]]
    assert check.given[-2:] == [2.5, 10]


def test_a_child_that_dies_while_it_starts_is_no_fault_of_a_request(monkeypatch):
    info = Bag(serialize_json=lambda: "")
    library = Bag(TokenizerInfo=Bag(from_huggingface=lambda *_, **__: info))
    monkeypatch.setitem(sys.modules, "xgrammar", library)
    monkeypatch.setattr(grammar_sandbox, "serve", is_)  # which ends at once
    check = GrammarSandbox(None, 0)
    with pytest.raises(EngineError, match="did not start"):
        check.check(GOOD, "body.x", "b")
    assert check._child is None
