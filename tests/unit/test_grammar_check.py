"""Grammars are tried one after the other, and what is known waits for none."""

import sys
from concurrent.futures import ThreadPoolExecutor
from operator import is_
from threading import Event
from types import SimpleNamespace as Bag

import pytest

from jobs.errors import EngineError, RequestRefusedError
from workers import grammar_check
from workers.grammar_check import GrammarCheck

GOOD, BAD, SLOW = ("regex", "a"), ("regex", "("), ("regex", "slow")


class Held(GrammarCheck):
    """Tries without a child; one grammar takes until it is let go."""

    def __init__(self):
        super().__init__(None, 0)
        self.tried = []
        self.began, self.go = Event(), Event()

    def _tried(self, grammar):
        self.tried.append(grammar)
        if grammar == SLOW:
            self.began.set()
            assert self.go.wait(30)
        return "it is bad" if grammar == BAD else None


def refuse_bad(check):
    with pytest.raises(RequestRefusedError, match="it is bad") as raised:
        check.check(BAD, "body.x")
    assert raised.value.param == "body.x"


def test_what_is_known_does_not_wait_for_what_is_tried():
    check = Held()
    check.check(GOOD, "body.x")
    refuse_bad(check)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(check.check, SLOW, "body.x")
        assert check.began.wait(30)
        try:
            check.check(GOOD, "body.x")
            refuse_bad(check)
            assert not slow.done()
        finally:
            check.go.set()
    assert check.tried == [GOOD, BAD, SLOW]


def test_who_waits_for_a_grammar_that_is_tried_does_not_try_it_again():
    check = Held()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(check.check, SLOW, "body.x") for _ in range(4)]
        assert check.began.wait(30)
        check.go.set()
    assert [one.result() for one in asked] == [None] * 4
    assert check.tried == [SLOW]


def test_a_child_that_dies_while_it_starts_is_no_fault_of_a_request(monkeypatch):
    info = Bag(serialize_json=lambda: "")
    library = Bag(TokenizerInfo=Bag(from_huggingface=lambda *_, **__: info))
    monkeypatch.setitem(sys.modules, "xgrammar", library)
    monkeypatch.setattr(grammar_check, "serve", is_)  # which ends at once
    check = GrammarCheck(None, 0)
    with pytest.raises(EngineError, match="did not start"):
        check.check(GOOD, "body.x")
    assert check._child is None
