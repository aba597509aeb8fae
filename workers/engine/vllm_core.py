"""The vLLM engine's core; only it, `workers.vllm_chat` and `vllm_grammar` know it.

What is done differently from the obvious, and why, stands in
`docs/decisions/0004-engine-thread.md`.
"""

import gc
import os
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.model_files import model_folder
from batchchat.jobs.engine.protocol import Answer, Work
from batchchat.jobs.engine.sampling import Sampling
from batchchat.jobs.errors import EngineStartError, RequestRefusedError
from batchchat.jobs.prompts.renderer import Prompter, load_prompter
from batchchat.jobs.requests.output_constraints import Form
from batchchat.workers.engine import process_guard
from batchchat.workers.engine.detokenizer import Detokenizer
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.grammar_sandbox import GrammarSandbox
from batchchat.workers.engine.vllm_chat import ChatParser, ChatParserFactory
from batchchat.workers.engine.vllm_grammar_limits import limit_grammar_time
from batchchat.workers.engine.vllm_output import AnswerBuilder

_CPU = {
    # A seeded request whose prompt is prefilled in chunks kills the CPU's engine.
    "enable_chunked_prefill": False,
    # Compiling takes longer than it saves on the short runs of a CPU.
    "enforce_eager": True,
}
_STRUCTURED = {
    # With `auto` the first request decides the backend for all that come after it,
    # and a request's answer would depend on its neighbours.
    "backend": "xgrammar",
    # JSON allows blanks without end, and a weak model fills its answer with them.
    "disable_any_whitespace": True,
}
_SWITCH_SECONDS = 0.001
"""After which a thread of ours hands the interpreter to the engine's, in one process.

A step gives it up at each operation, hundreds of times, and by default waits up to
5 ms to have it back from a thread that renders or stores."""

_ended: list[Any] = []
"""Engines of this process that have ended, whose memory the next one needs.

vLLM takes an engine in its own process apart by going through all of Python's
objects three times, and Python does so again at its end: 3 s together. A process
that ends anyway gives its memory back without."""


def start_vllm(
    model: Model, models: Path, *, in_subprocess: bool | None, log_level: str
) -> EngineDriver:
    """Return a running engine for `model`.

    `in_subprocess` says whether its core gets a process of its own, None what is best
    here; `log_level` is the level of vLLM's own messages on stderr.

    Raises:
        EngineStartError: vLLM is not installed, or it can't load the model.
        ModelNotFoundError: the model's files are not at hand.

    """
    prompter = load_prompter(model, models)
    source = str(model_folder(model, models)) if _is_local(model) else model.source
    _set_environment(log_level)
    engine = EngineDriver(
        lambda: _build(model, source, prompter, in_subprocess=in_subprocess), prompter
    )
    try:
        engine.start()
    except BaseException:
        engine.close()
        raise
    return engine


def _set_environment(log_level: str) -> None:
    """Say to vLLM what it takes from the environment only; a user's own word wins."""
    os.environ[process_guard.OWNER_VARIABLE] = str(os.getpid())
    os.environ.setdefault("VLLM_LOGGING_LEVEL", log_level.upper())
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    if "OMP_WAIT_POLICY" not in os.environ:
        # On a CPU a core that waits for the others at the end of an operation spins.
        # For long, which is the default, that takes the core that it waits for from
        # whoever else has to run there; not at all, and each wait costs a sleep.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")


def _build(
    model: Model, source: str, prompter: Prompter, *, in_subprocess: bool | None
) -> "VllmCore":
    """Load vLLM and the model, which takes from seconds to minutes."""
    on_cpu = _import_vllm()
    if in_subprocess is None:
        in_subprocess = not on_cpu
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(in_subprocess))
    while _ended:
        with suppress(Exception):  # what died may not come apart either
            _ended.pop().engine_core.shutdown()
    if not in_subprocess:
        sys.setswitchinterval(_SWITCH_SECONDS)
    arguments = _arguments(model, source, prompter, on_cpu=on_cpu)
    core = VllmCore(model, arguments, prompter.template.source)
    prompter.adopt(core.context_length, core.encode)
    gc.freeze()  # what is loaded stays; to look through it takes 0.5 s each time
    return core


def _import_vllm() -> bool:
    """Import vLLM; say whether it runs on a CPU here. Raises `EngineStartError`.

    Its half a million objects are all kept, and a tenth of the time goes to looking
    for those that are not.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        import vllm.v1.engine.llm_engine  # noqa: F401 - which has the most of it
        from vllm.platforms import current_platform
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise EngineStartError(
            "vLLM is not installed here, and nothing else answers requests",
            hint="install it with `pip install 'batchchat[gpu]'` (or `[cpu]`)",
        ) from None
    finally:
        if collects:
            gc.enable()
    return bool(current_platform.is_cpu())


def _arguments(
    model: Model, source: str, prompter: Prompter, *, on_cpu: bool
) -> dict[str, Any]:
    """Return vLLM's `EngineArgs` for the model on this platform."""
    arguments: dict[str, Any] = {
        "model": source,
        "revision": model.revision,
        "max_model_len": model.context_length,
        "generation_config": "vllm",  # else the model's own sampling defaults
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "trust_remote_code": False,
        "seed": 0,
        "structured_outputs_config": dict(_STRUCTURED),
    }
    if on_cpu:
        length = prompter.context_length or 0
        arguments |= _CPU | {"max_num_batched_tokens": max(length, 4096)}
        arguments["distributed_executor_backend"] = "uni"
    arguments |= model.engine
    if model.reasoning_parser:  # vLLM's own argument for it wants no dictionary here
        structured = {"reasoning_parser": model.reasoning_parser}
        arguments["structured_outputs_config"] = (
            arguments["structured_outputs_config"] | structured
        )
    return arguments


class VllmCore:
    """vLLM's `LLMEngine`, its core in this process or in a child."""

    def __init__(self, model: Model, arguments: dict[str, Any], template: str) -> None:
        """Load the model; `arguments` are those of vLLM's `EngineArgs`."""
        from vllm import EngineArgs, SamplingParams
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.exceptions import EngineDeadError
        from vllm.v1.engine.llm_engine import LLMEngine

        limit_grammar_time()
        # Whoever builds an `LLMEngine` and says nothing gets 128 requests at once;
        # `LLM` gets 1,024 on a large GPU.
        self._llm = LLMEngine.from_engine_args(
            EngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS
        )
        self._params = SamplingParams
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._input = tokens_input
        self._dead_error = EngineDeadError
        config = self._llm.vllm_config
        self.context_length: int = config.model_config.max_model_len
        self.capacity = 2 * config.scheduler_config.max_num_seqs
        self.identity = _identity(model, config, template)
        self._builders: dict[str, AnswerBuilder] = {}
        tokenizer = self._llm.get_tokenizer()
        self._chats = ChatParserFactory(model, config.model_config, tokenizer)
        self._detokenizer = Detokenizer.for_tokenizer(tokenizer)
        self._grammars = GrammarSandbox(tokenizer, config.model_config.get_vocab_size())
        self._child = getattr(self._llm.engine_core, "resources", None)
        if self._child is None:
            self._llm.engine_core._finalizer.atexit = False  # noqa: SLF001

    def encode(self, text: str) -> list[int]:
        """Tokenize with the model's own tokenizer, where no file can be read."""
        ids: list[int] = self._llm.get_tokenizer().encode(
            text, add_special_tokens=False
        )
        return ids

    def add(self, work: Work) -> None:
        """Begin with `work`. Raises `RequestRefusedError`."""
        try:
            prompt = self._input(work.prompt.token_ids, prompt=work.prompt.text)
            chat = self._chats.create(work.form)
            params = self._sampling(work.sampling, chat)
            self._llm.add_request(work.key, prompt, params)
        except (RequestRefusedError, self._dead_error):
            raise
        except Exception as error:  # whatever else it is, it is about this request
            reason = str(error).partition(" (parameter=")[0][:200]  # not the value
            raise RequestRefusedError(reason, code="invalid_value") from error
        self._builders[work.key] = AnswerBuilder(params, chat)

    def check_constraints(self, form: Form, batch_id: str) -> None:
        """See that a grammar can be made for the form. Raises `RequestRefusedError`."""
        chat = self._chats.create(form)
        if chat is not None and chat.grammar is not None:
            self._grammars.check(*chat.grammar, batch_id)

    def step(self) -> list[tuple[str, Answer]]:
        """Compute one token for each running request."""
        return [
            (output.request_id, self._answer(output))
            for output in self._llm.step()
            if output.finished and output.request_id in self._builders
        ]

    def _answer(self, output: Any) -> Answer:
        builder = self._builders.pop(output.request_id)
        if self._detokenizer is None or builder.params.detokenize:
            return builder.build(output)
        return builder.build(output, self._detokenizer)

    def _can_read(self, sampling: Sampling, *, hides_special: bool) -> bool:
        """Say whether an answer's text may wait until it is finished."""
        return (
            self._detokenizer is not None
            and not sampling.stop
            and sampling.logprobs is None
            and (hides_special or sampling.spaces_between_special_tokens)
        )

    def abort(self, keys: list[str]) -> None:
        """Forget work."""
        self._llm.abort_request(keys)
        for key in keys:
            self._builders.pop(key, None)

    def close(self) -> None:
        """End the core; a child that does not go by itself is killed.

        In this process its memory is kept until the next is built.
        """
        self._grammars.close()
        if self._child is None:
            _ended.append(self._llm)
        else:
            self._llm.engine_core.shutdown(timeout=0)

    def is_alive(self) -> bool:
        """Say whether the child, if there is one, still lives."""
        return self._child is None or not self._child.engine_dead

    def interrupt_step(self) -> None:
        """Tell a `step` that waits for a dead child's output what happened.

        vLLM only marks the engine as dead then, and its client waits for ever.
        """
        self._llm.engine_core.outputs_queue.put_nowait(self._dead_error())

    def _sampling(self, sampling: Sampling, chat: ChatParser | None) -> Any:
        constraint = chat.constraint if chat else None
        hides = sampling.skip_special_tokens
        if chat is not None:
            hides = hides and chat.hides_special_tokens
        return self._params(
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
            structured_outputs=constraint,
            logit_bias=sampling.logit_bias or None,
            logprobs=sampling.logprobs,
            ignore_eos=sampling.ignore_eos,
            skip_special_tokens=hides,
            spaces_between_special_tokens=sampling.spaces_between_special_tokens,
            include_stop_str_in_output=sampling.include_stop_str_in_output,
            output_kind=self._final_only,
            detokenize=not self._can_read(sampling, hides_special=hides),
            # vLLM writes to what it is given: to this only it does, but a constraint
            # is that of all requests of one form
            skip_clone=constraint is None,
        )


def _identity(model: Model, config: Any, template: str) -> dict[str, Any]:
    """Return what shapes the answers beside the request."""
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


def _is_local(model: Model) -> bool:
    return model.source == "demo" or Path(model.source).expanduser().is_dir()
