"""An engine core that computes with vLLM's `LLMEngine`.

The reasons for its unusual choices are in `docs/decisions/0004-engine-thread.md`.
"""

import signal
from contextlib import suppress
from hashlib import sha256
from typing import Any

from typing_extensions import override

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.protocol import CompletionOrError, EngineRequest
from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.requests.output_constraints import OutputConstraints
from batchchat.workers.engine.cache_salts import CacheSalts
from batchchat.workers.engine.core import Core
from batchchat.workers.engine.detokenizer import Detokenizer
from batchchat.workers.engine.grammar_process import GrammarProcess
from batchchat.workers.engine.grammar_sandbox import GrammarSandbox
from batchchat.workers.engine.log_file import EngineLog
from batchchat.workers.engine.vllm_chat import ChatParser, ChatParserFactory
from batchchat.workers.engine.vllm_choice_seeds import derive_choice_seeds
from batchchat.workers.engine.vllm_grammar_backends import select_backend_per_request
from batchchat.workers.engine.vllm_grammar_limits import limit_grammar_time
from batchchat.workers.engine.vllm_grammars import GrammarBuilder
from batchchat.workers.engine.vllm_output import AnswerBuilder

_MAX_REASON_CHARACTERS = 200

_closed_engines: list[Any] = []
"""Closed `LLMEngine`s of this process that still hold their memory.

To shut down an engine in its own process, vLLM traverses all Python objects three
times, and Python does so again at exit: 3 s in total. A process that exits anyway
releases the memory without that, so the shutdown waits until another engine is built.
"""


def release_closed_engines() -> None:
    """Free the memory of the closed engines of this process."""
    while _closed_engines:
        with suppress(Exception):  # the shutdown of a failed engine may fail as well
            _closed_engines.pop().engine_core.shutdown()


class _TokenCounter:
    """Counts the tokens of each step; vLLM's own statistics cost more time."""

    def __init__(self, client: Any) -> None:
        """Count what the core's `client` receives."""
        self.generated_tokens = 0
        self.running = 0
        self._get_output = client.get_output
        client.get_output = self._count

    def _count(self) -> Any:
        outputs = self._get_output()
        counts = [len(output.new_token_ids) for output in outputs.outputs]
        self.generated_tokens += sum(counts)
        if counts:
            self.running = len(counts)
        return outputs


class VllmCore(Core):
    """vLLM's `LLMEngine`, whose core runs in this process or in a child process."""

    def __init__(self, model: Model, arguments: dict[str, Any], template: str) -> None:
        """Load the model.

        `arguments` are those of vLLM's `EngineArgs`; `template` is the text of the
        chat template.
        """
        from vllm import EngineArgs, SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.exceptions import EngineDeadError
        from vllm.v1.engine.llm_engine import LLMEngine

        limit_grammar_time()
        select_backend_per_request()
        derive_choice_seeds()
        structured_outputs = arguments["structured_outputs_config"]
        grammars = GrammarBuilder(structured_outputs)
        if structured_outputs["backend"] == "auto":
            # vLLM's `auto` would use one compiler for all requests.
            structured_outputs = structured_outputs | {"backend": "xgrammar"}
        arguments = arguments | {"structured_outputs_config": structured_outputs}
        # Without a usage context vLLM computes 128 requests at a time; with this one
        # it computes 1,024 on a large GPU, as `vllm.LLM` does.
        self._llm = LLMEngine.from_engine_args(
            EngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS
        )
        self._counter = _TokenCounter(self._llm.engine_core)
        self._params_class = SamplingParams
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._tokens_input = tokens_input
        self._cache_salts = CacheSalts()
        self._dead_error = EngineDeadError
        config = self._llm.vllm_config
        self.context_length: int = config.model_config.max_model_len
        self.capacity = 2 * config.scheduler_config.max_num_seqs
        self.identity = _identity(model, config, template)
        self._builders: dict[str, AnswerBuilder] = {}
        tokenizer = self._llm.get_tokenizer()
        self._parsers = ChatParserFactory(
            model, config.model_config, tokenizer, grammars
        )
        self._detokenizer = Detokenizer.for_tokenizer(tokenizer)
        vocabulary_size = config.model_config.get_vocab_size()
        self._grammars = GrammarSandbox(GrammarProcess(tokenizer, vocabulary_size))
        self._child = getattr(self._llm.engine_core, "resources", None)
        if self._child is None:
            self._llm.engine_core._finalizer.atexit = False  # noqa: SLF001

    def encode(self, text: str) -> list[int]:
        """Tokenize with vLLM's tokenizer, for models without a tokenizer file."""
        ids: list[int] = self._llm.get_tokenizer().encode(
            text, add_special_tokens=False
        )
        return ids

    @override
    def add(self, work: EngineRequest) -> None:
        try:
            prompt = self._tokens_input(
                work.prompt.token_ids,
                prompt=work.prompt.text,
                cache_salt=self._cache_salts.get(work.project),
            )
            parser = self._parsers.create(work.constraints)
            params = self._sampling_params(work.sampling, parser)
            self._llm.add_request(work.key, prompt, params)
        except (RequestRefusedError, self._dead_error):
            raise
        except Exception as error:  # any other error concerns this request alone
            message = str(error).partition(" (parameter=")[0]  # without the value
            reason = message[:_MAX_REASON_CHARACTERS]
            raise RequestRefusedError(reason, code="invalid_value") from error
        self._builders[work.key] = AnswerBuilder(params, parser)

    @override
    def check_constraints(self, constraints: OutputConstraints, batch_id: str) -> None:
        parser = self._parsers.create(constraints)
        if parser is not None and parser.grammar is not None:
            self._grammars.check(*parser.grammar, batch_id)

    @override
    def step(self) -> list[tuple[str, CompletionOrError]]:
        return [
            (output.request_id, self._answer(output))
            for output in self._llm.step()
            if output.finished and output.request_id in self._builders
        ]

    @property
    @override
    def generated_tokens(self) -> int:
        return self._counter.generated_tokens

    @property
    @override
    def running(self) -> int:
        return self._counter.running

    @override
    def abort(self, keys: list[str]) -> None:
        self._llm.abort_request(keys)
        for key in keys:
            self._builders.pop(key, None)

    @override
    def close(self) -> None:
        self._grammars.close()
        if self._child is None:
            _closed_engines.append(self._llm)
        else:
            self._llm.engine_core.shutdown(timeout=0)

    @override
    def is_alive(self) -> bool:
        return self._child is None or not self._child.engine_dead

    @override
    def death_reason(self) -> str | None:
        """Return the last error of the child process, or the signal that killed it."""
        if self._child is None:
            return None
        processes = getattr(self._child.engine_manager, "processes", [])
        statuses = [process.exitcode or 0 for process in processes]
        killed = [signal.Signals(-status).name for status in statuses if status < 0]
        if killed:
            hint = ", perhaps for lack of memory" if killed[0] == "SIGKILL" else ""
            return f"its process was killed by {killed[0]}{hint}"
        return EngineLog.current.last_error() if EngineLog.current else None

    @override
    def interrupt_step(self) -> None:
        """Put an error into the queue in which vLLM's client awaits output.

        When its process dies, vLLM only marks the engine as dead, and the client
        waits forever.
        """
        self._llm.engine_core.outputs_queue.put_nowait(self._dead_error())

    def _answer(self, output: Any) -> CompletionOrError:
        builder = self._builders.pop(output.request_id)
        if self._detokenizer is None or builder.params.detokenize:
            return builder.build(output)
        return builder.build(output, self._detokenizer)

    def _can_detokenize_later(
        self, sampling: Sampling, *, skip_special_tokens: bool
    ) -> bool:
        """Return whether the text is needed only once the answer is finished."""
        return (
            self._detokenizer is not None
            and not sampling.stop
            and sampling.logprobs is None
            and (skip_special_tokens or sampling.spaces_between_special_tokens)
        )

    def _sampling_params(self, sampling: Sampling, parser: ChatParser | None) -> Any:
        """Return vLLM's `SamplingParams` of a request."""
        structured_outputs = parser.structured_outputs if parser else None
        skip_special_tokens = sampling.skip_special_tokens and (
            parser is None or parser.skips_special_tokens
        )
        return self._params_class(
            n=sampling.n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            top_k=sampling.top_k,
            seed=sampling.seed,
            max_tokens=sampling.max_tokens,
            min_tokens=sampling.min_tokens,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            stop=list(sampling.stop),
            stop_token_ids=list(sampling.stop_token_ids),
            bad_words=list(sampling.bad_words),
            allowed_token_ids=list(sampling.allowed_token_ids) or None,
            structured_outputs=structured_outputs,
            logit_bias=sampling.logit_bias or None,
            logprobs=sampling.logprobs,
            ignore_eos=sampling.ignore_eos,
            skip_special_tokens=skip_special_tokens,
            spaces_between_special_tokens=sampling.spaces_between_special_tokens,
            include_stop_str_in_output=sampling.include_stop_str_in_output,
            output_kind=self._final_only,
            detokenize=not self._can_detokenize_later(
                sampling, skip_special_tokens=skip_special_tokens
            ),
            # vLLM modifies its arguments. All objects passed here are new, except
            # for the constraints, which vLLM must clone.
            skip_clone=structured_outputs is None,
        )


def _identity(model: Model, config: Any, template: str) -> dict[str, Any]:
    """Return everything besides the request that determines an answer."""
    import torch
    import vllm

    return {
        "model": model.name,
        "source": model.source,
        "revision": model.revision,
        "chat_template": sha256(template.encode()).hexdigest()[:16],
        "special_tokens": dict(model.special_tokens),
        "stop": [*model.stop, *model.stop_token_ids],
        "allow_special_tokens": model.allow_special_tokens,
        "tool_parser": model.tool_parser,
        "reasoning_parser": model.reasoning_parser,
        "arguments": model.engine,
        "engine": f"vllm {vllm.__version__}",
        "torch": str(torch.__version__),
        "device": config.device_config.device_type,
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "quantization": config.model_config.quantization,
        "context_length": config.model_config.max_model_len,
        "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        "pipeline_parallel_size": config.parallel_config.pipeline_parallel_size,
    }
