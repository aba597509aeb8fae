"""Fields that requests may have, beyond those of `schema`, as data.

Other servers and client libraries know more fields than batchchat. One that can't
change the answer is ignored, and counted. One that would change it is rejected with a
reason. Values that ask for what happens anyway, such as null, are neither.

Sources: OpenAI's chat completion reference, vLLM's `ChatCompletionRequest`, and what
LiteLLM, LangChain, lm-eval and Hugging Face's datasets write into messages.
"""

from typing import Any, NamedTuple

from batchchat.jobs.requests import schema, schema_types


class ExtraField(NamedTuple):
    """What to do with a field; it is ignored unless it has a `reason` to reject it.

    The values in `neutral` ask for what happens anyway. The field is also ignored if
    the object has one of the fields in `copy_of`, whose content it repeats.
    """

    reason: str = ""
    neutral: tuple[Any, ...] = ()
    copy_of: tuple[str, ...] = ()

    def asks_for_nothing(self, value: Any) -> bool:
        """Return whether a request with this value is the same as one without."""
        return value is None or any(
            value == one and isinstance(value, bool) == isinstance(one, bool)
            for one in self.neutral
        )


_IGNORED = ExtraField()
_RENAMED = ExtraField("renamed; use `structured_outputs`")
_OPENAI_FORM = ExtraField("responses have the form of OpenAI's", (False,))
_TEMPLATE_VARIABLE = ExtraField("use `chat_template_kwargs`")
_NEW_MESSAGE = ExtraField("the assistant always starts a new message", (False,))

_BODY = {
    "add_generation_prompt": ExtraField(
        "the prompt always ends where the answer begins", (True,)
    ),
    "add_special_tokens": ExtraField(
        "the chat template writes the special tokens", (False,)
    ),
    "audio": ExtraField("answers are text"),
    "best_of": ExtraField("use `n`", (1,)),
    "cache_salt": _IGNORED,
    "chat_template": ExtraField("the template belongs to the model, not to a request"),
    "continue_final_message": _NEW_MESSAGE,
    "documents": ExtraField("include them in a message", ([],)),
    "early_stopping": _IGNORED,  # of beam search
    "ec_transfer_params": _IGNORED,
    "echo": ExtraField("the conversation is in the input file", (False,)),
    "enable_thinking": _TEMPLATE_VARIABLE,
    "extra_body": ExtraField("write its fields into the body itself", ({},)),
    "extra_headers": _IGNORED,
    "extra_query": _IGNORED,
    "function_call": ExtraField("deprecated; use `tool_choice`"),
    "functions": ExtraField("deprecated; use `tools`"),
    "guided_choice": _RENAMED,
    "guided_decoding_backend": _RENAMED,
    "guided_grammar": _RENAMED,
    "guided_json": _RENAMED,
    "guided_regex": _RENAMED,
    "guided_whitespace_pattern": _RENAMED,
    "kv_transfer_params": _IGNORED,
    "length_penalty": ExtraField(neutral=(1,)),  # of beam search
    "logits_processors": ExtraField("requests can't contain code", ([],)),
    "logprob_token_ids": ExtraField("use `top_logprobs`", ([],)),
    "media_io_kwargs": _IGNORED,  # messages are texts
    "mm_payload": _IGNORED,
    "mm_processor_kwargs": _IGNORED,
    "modalities": ExtraField("answers are text", (["text"],)),
    "moderation": ExtraField("there is no moderation"),
    "prediction": _IGNORED,  # it makes OpenAI's answers faster, not different
    "priority": ExtraField(neutral=(0,)),
    "prompt_cache_options": _IGNORED,
    "prompt_logprobs": ExtraField("log probabilities are available for answers only"),
    "reasoning": ExtraField("use `reasoning_effort`"),
    "repetition_detection": ExtraField("it is not supported"),
    "request_id": _IGNORED,
    "return_mm_kwargs": _OPENAI_FORM,
    "return_prompt_text": _OPENAI_FORM,
    "return_token_ids": _OPENAI_FORM,
    "return_token_offsets": _OPENAI_FORM,
    "return_tokens_as_token_ids": _OPENAI_FORM,
    "routed_experts_prompt_start": ExtraField(neutral=(0,)),
    "session_id": _IGNORED,
    "stream_interval": _IGNORED,
    "thinking": _TEMPLATE_VARIABLE,
    "thinking_budget": _TEMPLATE_VARIABLE,
    "thinking_token_budget": ExtraField("use `max_tokens`, or `chat_template_kwargs`"),
    "timeout": _IGNORED,
    "truncate_prompt_tokens": ExtraField("a prompt that is too long is an error"),
    "truncation_side": _IGNORED,
    "use_beam_search": ExtraField("beam search is not supported", (False,)),
    "verbosity": ExtraField("no model of the catalog supports it", ("medium",)),
    "vllm_xargs": ExtraField("there are no extensions that read it", ({},)),
    "watermarking": ExtraField("it is not supported", (False,)),
    "web_search_options": ExtraField("web search is not supported"),
}

_REASONING = ("reasoning", "reasoning_content")
_REASONING_COPY = ExtraField(
    "write the reasoning into `reasoning`", ([],), copy_of=_REASONING
)
_MESSAGE = {
    "annotations": ExtraField(neutral=([],)),
    "audio": ExtraField("send what was said as `content`"),
    "cache_control": _IGNORED,
    "id": _IGNORED,
    "images": ExtraField("messages are texts", ([],)),
    "parsed": _IGNORED,  # the content, parsed by OpenAI's client
    "partial": _NEW_MESSAGE,
    "prefix": _NEW_MESSAGE,
    "provider_specific_fields": ExtraField(neutral=({},)),
    "reasoning_details": _REASONING_COPY,
    "thinking_blocks": _REASONING_COPY,
    "type": ExtraField("messages have no types; parts have", ("text", "message")),
    "weight": _IGNORED,  # of a message in fine-tuning
}
_PART = {
    "annotations": ExtraField(neutral=([],)),
    "cache_control": _IGNORED,
    "citations": ExtraField(neutral=([],)),
    "id": _IGNORED,
    "logprobs": ExtraField(neutral=([],)),
    "prompt_cache_breakpoint": _IGNORED,
    "provider_specific_fields": ExtraField(neutral=({},)),
}
_CALL = {
    "cache_control": _IGNORED,
    "extra_content": _IGNORED,  # signatures of Google's models
    "index": _IGNORED,
    "provider_specific_fields": ExtraField(neutral=({},)),
}
_CALLED_FUNCTION = {
    "parsed_arguments": _IGNORED,  # the arguments, parsed by OpenAI's client
    "provider_specific_fields": ExtraField(neutral=({},)),
}
_STRUCTURED_OUTPUTS = {
    "disable_additional_properties": ExtraField(
        "set `additionalProperties` in the schema", (False,)
    ),
    "disable_any_whitespace": ExtraField(neutral=(False, True)),
    "disable_fallback": ExtraField(neutral=(False,)),
    "whitespace_pattern": ExtraField("JSON has no whitespace between its parts"),
}

EXTRA_FIELDS: dict[type, dict[str, ExtraField]] = {
    schema.Body: _BODY,
    schema.BodyLine: _BODY,
    schema.Message: _MESSAGE,
    schema.TextPart: _PART,
    schema_types.Tool: {"cache_control": _IGNORED},
    schema_types.Function: {
        "cache_control": _IGNORED,
        "return": ExtraField("describe it in `description`"),
    },
    schema_types.ToolCall: _CALL,
    schema_types.FunctionCall: _CALLED_FUNCTION,
    schema_types.ResponseFormat: {"schema": ExtraField("use `json_schema`")},
    schema_types.StructuredOutputs: _STRUCTURED_OUTPUTS,
}
"""By the type of the object that has the fields."""

PART_TEXTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Types of parts that are texts under another name, and the fields with the text."""

UNSUPPORTED_FIELDS = {
    name: extra.reason for name, extra in _BODY.items() if extra.reason
}
"""Fields of a body that are not supported, and why."""

IGNORED_FIELDS = [name for name, extra in _BODY.items() if not extra.reason]
"""Fields of a body that have no effect, beside those of `PARAMETERS`."""
