"""Every field that vLLM's server knows is supported, ignored or rejected by name."""

import pytest

from batchchat.jobs.requests.extra_fields import EXTRA_FIELDS
from batchchat.jobs.requests.schema import Body, Message
from batchchat.jobs.requests.schema_types import StructuredOutputs

protocol = pytest.importorskip("vllm.entrypoints.openai.chat_completion.protocol")


def known(struct):
    return {*struct.__struct_fields__, *EXTRA_FIELDS[struct]}


def test_every_field_of_a_request_is_known():
    assert {*protocol.ChatCompletionRequest.model_fields} - known(Body) == set()


def test_every_field_of_an_answer_is_known():
    assert {*protocol.ChatMessage.model_fields} - known(Message) == set()


def test_every_kind_of_structured_output_is_known():
    from vllm.sampling_params import StructuredOutputsParams

    fields = {
        name for name in StructuredOutputsParams.__annotations__ if name[0] != "_"
    }
    assert fields - known(StructuredOutputs) == {"structural_tag"}
