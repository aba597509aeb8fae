"""Converts vLLM's outputs into answers; this module does not import vLLM."""

from itertools import islice
from typing import Any, NamedTuple

from batchchat.jobs.engine.protocol import Choice, Completion, CompletionOrError
from batchchat.jobs.errors import EngineError, RequestRefusedError
from batchchat.workers.engine.detokenizer import Detokenizer
from batchchat.workers.engine.vllm_chat import ChatParser

_MIN_LOGPROB = -9999.0
"""Replaces minus infinity, which JSON cannot express; vLLM's server does the same."""


class AnswerBuilder(NamedTuple):
    """Builds the answer to one request.

    `params` are the request's vLLM `SamplingParams`; `parser` parses tool calls and
    reasoning and is None for plain text.
    """

    params: Any
    parser: ChatParser | None

    def build(
        self, output: Any, detokenizer: Detokenizer | None = None
    ) -> CompletionOrError:
        """Convert vLLM's `RequestOutput` into an answer.

        `detokenizer` decodes the text if vLLM has not. A signal that reaches vLLM
        ends running requests with the finish reason `abort` and a truncated text,
        which is no result. The finish reason `error` means that vLLM could not
        follow the request's grammar.
        """
        reasons = {one.finish_reason for one in output.outputs}
        if self.parser is not None and "error" in reasons:
            return _request_error(
                "the engine could not satisfy the output constraints, or not within "
                "the time limit"
            )
        if reasons & {None, "abort", "error"}:
            return EngineError("the engine stopped before the answer was complete")
        try:
            if detokenizer is not None:
                _detokenize(output, self.params, detokenizer)
            return self._completion(output)
        except Exception as error:  # noqa: BLE001 - a parser error affects one answer
            kind = type(error).__name__
            return _request_error(f"the model's answer could not be parsed: {kind}")

    def _completion(self, output: Any) -> Completion:
        top, parser = self.params.logprobs or 0, self.parser
        outputs = sorted(output.outputs, key=lambda one: one.index)
        generated = [one.token_ids for one in outputs]
        return Completion(
            choices=[_choice(one, top, parser) for one in outputs],
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=sum(map(len, generated)),
            cached_tokens=output.num_cached_tokens or 0,
            reasoning_tokens=sum(map(parser.reasoning_tokens, generated))
            if parser is not None and parser.has_reasoning
            else None,
        )


def _detokenize(output: Any, params: Any, detokenizer: Detokenizer) -> None:
    """Set the outputs' texts, without the token that ended an answer."""
    for one in output.outputs:
        token_ids = list(one.token_ids)
        if one.finish_reason == "stop" and not params.include_stop_str_in_output:
            token_ids.pop()
        one.text = detokenizer.decode(
            output.prompt_token_ids,
            token_ids,
            skip_special_tokens=params.skip_special_tokens,
        )


def _request_error(message: str) -> RequestRefusedError:
    return RequestRefusedError(message, code="engine_error", status_code=500)


def _choice(one: Any, top: int, parser: ChatParser | None) -> Choice:
    logprobs = None if parser is not None and parser.hides_logprobs else one.logprobs
    if logprobs is not None:
        logprobs = [
            _token_logprobs(step, token, top)
            for step, token in zip(logprobs, one.token_ids, strict=True)
        ]
    fields = {"text": one.text, "finish_reason": one.finish_reason}
    if parser is not None:
        fields |= parser.parse(one)
    return Choice(
        index=one.index, stop_reason=one.stop_reason, logprobs=logprobs, **fields
    )


def _token_logprobs(step: dict[int, Any], token: int, top: int) -> dict[str, Any]:
    """Return OpenAI's object for one generated token.

    As in vLLM's server, the alternatives are the first `top` entries of vLLM's list,
    which starts with the token itself.
    """
    alternatives = [_logprob(other) for other in islice(step.values(), top)]
    return _logprob(step[token]) | {"top_logprobs": alternatives}


def _logprob(logprob: Any) -> dict[str, Any]:
    text = logprob.decoded_token or ""
    return {
        "token": text,
        "logprob": max(logprob.logprob, _MIN_LOGPROB),
        "bytes": list(text.encode("utf-8", errors="replace")),
    }
