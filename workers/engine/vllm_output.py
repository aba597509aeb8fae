"""Turns what vLLM has generated into an answer; nothing of vLLM is imported here."""

from itertools import islice
from typing import Any, NamedTuple

from batchchat.jobs.engine.protocol import Answer, Choice, Completion
from batchchat.jobs.errors import EngineError, RequestRefusedError
from batchchat.workers.engine.detokenizer import Detokenizer
from batchchat.workers.engine.vllm_chat import ChatParser

_LEAST_LOGPROB = -9999.0
"""What vLLM's own server says for minus infinity, which JSON can't."""


class AnswerBuilder(NamedTuple):
    """How an answer is read: vLLM's `SamplingParams`, and the form of the answer."""

    params: Any
    chat: ChatParser | None

    def build(self, output: Any, detokenizer: Detokenizer | None = None) -> Answer:
        """Turn vLLM's `RequestOutput` into an answer.

        `detokenizer` makes its text, if it has none yet. A signal that reaches vLLM
        makes it end requests with `abort` and half a text, as if all were well: that
        is no result. `error` is what it says when it can't follow a grammar.
        """
        reasons = {one.finish_reason for one in output.outputs}
        if self.chat is not None and "error" in reasons:
            return _unreadable(
                "the engine could not keep to the form of the answer, or not in time"
            )
        if reasons & {None, "abort", "error"}:
            return EngineError("the engine ended the request before it was done")
        try:
            if detokenizer is not None:
                _detokenize(output, self.params, detokenizer)
            return self._completion(output)
        except Exception as error:  # noqa: BLE001 - a parser's fault is one answer's
            return _unreadable(f"the answer can't be parsed: {type(error).__name__}")

    def _completion(self, output: Any) -> Completion:
        top, chat = self.params.logprobs or 0, self.chat
        outputs = sorted(output.outputs, key=lambda one: one.index)
        generated = [one.token_ids for one in outputs]
        return Completion(
            choices=[_choice(one, top, chat) for one in outputs],
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=sum(map(len, generated)),
            cached_tokens=output.num_cached_tokens or 0,
            reasoning_tokens=sum(map(chat.reasoning_tokens, generated))
            if chat is not None and chat.reasons
            else None,
        )


def _detokenize(output: Any, params: Any, detokenizer: Detokenizer) -> None:
    """Give the outputs their texts; a token that ends an answer is none of it."""
    for one in output.outputs:
        token_ids = list(one.token_ids)
        if one.finish_reason == "stop" and not params.include_stop_str_in_output:
            token_ids.pop()
        hides_special = params.skip_special_tokens
        one.text = detokenizer.decode(
            output.prompt_token_ids, token_ids, hides_special=hides_special
        )


def _unreadable(message: str) -> RequestRefusedError:
    return RequestRefusedError(message, code="engine_error", status_code=500)


def _choice(one: Any, top: int, chat: ChatParser | None) -> Choice:
    logprobs = None if chat is not None and chat.hides_logprobs else one.logprobs
    if logprobs is not None:
        logprobs = [
            _token(step, token, top)
            for step, token in zip(logprobs, one.token_ids, strict=True)
        ]
    fields = {"text": one.text, "finish_reason": one.finish_reason}
    if chat is not None:
        fields |= chat.parse(one)
    return Choice(
        index=one.index, stop_reason=one.stop_reason, logprobs=logprobs, **fields
    )


def _token(step: dict[int, Any], token: int, top: int) -> dict[str, Any]:
    """Return OpenAI's object for one generated token.

    The alternatives are the first `top` that vLLM lists, the token itself before
    the most likely ones: what its own server answers.
    """
    alternatives = [_logprob(other) for other in islice(step.values(), top)]
    return _logprob(step[token]) | {"top_logprobs": alternatives}


def _logprob(logprob: Any) -> dict[str, Any]:
    text = logprob.decoded_token or ""
    return {
        "token": text,
        "logprob": max(logprob.logprob, _LEAST_LOGPROB),
        "bytes": list(text.encode("utf-8", errors="replace")),
    }
