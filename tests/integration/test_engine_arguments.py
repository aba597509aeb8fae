"""What is read from vLLM's source is what vLLM declares."""

from dataclasses import fields

import pytest

from batchchat.workers.engine.vllm_arguments import _annotations

pytestmark = pytest.mark.engine


def test_the_known_arguments_are_those_of_the_installed_vllm():
    from vllm import EngineArgs

    assert {*_annotations()} == {field.name for field in fields(EngineArgs)}
