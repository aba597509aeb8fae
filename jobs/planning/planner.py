"""Plans a batch: checks its input and writes the plan."""

from collections.abc import Callable, Iterable
from functools import partial
from sys import maxsize

import msgspec

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.catalog.engine_arguments import with_current_engine
from batchchat.jobs.errors import (
    ConfigError,
    ModelNotFoundError,
    ObjectMissingError,
    UsageError,
)
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.cost_limit import check_cost_limit
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.missing_input import INPUT_MISSING, input_is_missing
from batchchat.jobs.ledger.records import Batch, Plan
from batchchat.jobs.ledger.repair import plan_matches_stored_results
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.planning.file_problem import condense
from batchchat.jobs.planning.prompt_checker import PromptChecker
from batchchat.jobs.planning.row_conversion import (
    renamed_input_columns,
    store_request_lines,
)
from batchchat.jobs.planning.scanner import Limits, Scan, scan
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.requests.parser import Parser
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.reuse.plan_reuse import with_reuse
from batchchat.jobs.rows.row_options import RowOptions, place_of
from batchchat.jobs.settings import Settings

_MAX_SLOW_PROMPTS = 32
"""Prompts of a batch whose rendering may take too long before no more are rendered."""

_CANNOT_REBUILD = (
    "the plan is corrupt and can't be rebuilt, because the shard settings have changed"
    " since: submit the input again"
)


def plan_limits(settings: Settings) -> Limits:
    """Return the limits for plans."""
    return Limits(
        settings.shard_requests,
        settings.shard_bytes,
        settings.max_line_bytes,
        settings.max_batch_requests,
    )


def make_plan(
    ledger: Ledger,
    batch: Batch,
    renderers: RendererRegistry,
    sizes: Limits,
    on_progress: Callable[[int, int], object] = lambda _bytes, _requests: None,
    *,
    paced: Callable[[Iterable[bytes]], Iterable[bytes]] = lambda chunks: chunks,
) -> Plan:
    """Plan a batch, unless it has a plan; return the plan.

    Two concurrent planners make the same plan, and one of them writes it. The input is
    read through `paced`, which may wait while others compute.

    Raises:
        ConfigError: the model's files are invalid.
        StorageError: the input can't be read, or the plan can't be written.

    """
    try:
        plan = _with_rows(ledger, batch, paced, sizes)
        if plan is None:
            read = partial(_read_input, ledger, batch, paced)
            plan = _build_plan(
                ledger, batch, read, renderers, sizes, on_progress=on_progress
            )
            plan = _with_renamed_columns(ledger, batch, plan)
    except ObjectMissingError:
        if not input_is_missing(
            ledger, batch, ledger.keys.content(batch.input_file_id)
        ):
            raise
        plan = _without_input(ledger, batch)
    return _write(ledger, batch, plan)


def reject(ledger: Ledger, batch: Batch, error: ConfigError) -> Plan:
    """Write and return a plan that rejects the batch, because of `error`."""
    text = f"{error.message}: {error.hint}" if error.hint else error.message
    problem = Problem("model_not_usable", None, text, "model")
    return _write(ledger, batch, _rejected(ledger, problem))


def _with_rows(
    ledger: Ledger,
    batch: Batch,
    paced: Callable[[Iterable[bytes]], Iterable[bytes]],
    sizes: Limits,
) -> Plan | None:
    """Make requests of rows if the batch has any; return the plan of invalid ones."""
    if batch.rows is None:
        return None
    most = sizes.requests_of_rows
    problem = store_request_lines(ledger, batch, batch.rows, paced, most)
    return _rejected(ledger, problem) if problem else None


def _with_renamed_columns(ledger: Ledger, batch: Batch, plan: Plan) -> Plan:
    if batch.rows is None:
        return plan
    renamed = renamed_input_columns(ledger, batch, batch.rows)
    return msgspec.structs.replace(plan, renamed_columns=renamed)


def _read_input(
    ledger: Ledger,
    batch: Batch,
    paced: Callable[[Iterable[bytes]], Iterable[bytes]],
) -> Iterable[bytes]:
    return paced(ledger.storage.stream(request_lines_key(ledger.keys, batch)))


def _build_plan(
    ledger: Ledger,
    batch: Batch,
    read: Callable[[], Iterable[bytes]],
    renderers: RendererRegistry,
    sizes: Limits,
    *,
    on_progress: Callable[[int, int], object],
) -> Plan:
    """Check the input, write the report of its problems, and return the plan."""
    keys = ledger.keys.batch(batch.id)
    found, model = check_input(
        read,
        _parser(batch, renderers.catalog),
        renderers,
        sizes,
        model=_resolved_model(batch, renderers.catalog),
        on_invalid=batch.on_invalid,
        every_prompt=batch.on_invalid == "fail",
        max_slow_prompts=_MAX_SLOW_PROMPTS,
        rows=batch.rows,
        on_progress=on_progress,
    )
    if model is not None:
        _check_limit(batch, model, found)
    plan = _plan(ledger, found, model, sizes.max_line_bytes)
    if found.problem_count:
        with ledger.storage.writer(keys.problems) as report:
            for problem in found.problems:
                report.write(msgspec.json.encode(problem) + b"\n")
    found.problems.close()
    if batch.reuse and plan.shards:
        plan = with_reuse(ledger, batch, plan, read(), renderers)
    return plan


def _resolved_model(batch: Batch, catalog: Catalog) -> Model | None:
    """Return the model that was resolved with the batch, as its engine runs now."""
    model = batch.resolved_model
    return model and with_current_engine(model, catalog)


def _parser(batch: Batch, catalog: Catalog) -> Parser:
    """Return a parser that accepts the names of the batch's model."""
    model, time = batch.resolved_model, batch.prompt_time
    if model is None:
        return Parser(batch.model, names=catalog.names, time=time)
    return Parser(
        model.name,
        model_optional=batch.model is not None,
        names=lambda name: {name, batch.model or name, *catalog.names(name)},
        time=time,
    )


def _without_input(ledger: Ledger, batch: Batch) -> Plan:
    message = (
        f"the input file `{batch.input_file_id}` was removed before it was checked"
    )
    return _rejected(ledger, Problem(INPUT_MISSING, None, message, "input_file_id"))


def _rejected(ledger: Ledger, problem: Problem) -> Plan:
    return Plan(
        created_at=ledger.now(),
        model=None,
        requests=0,
        invalid_lines=0,
        shards=[],
        problems=[problem],
    )


def _write(ledger: Ledger, batch: Batch, plan: Plan) -> Plan:
    """Write the plan, unless there is one; return the stored plan."""
    if not plan_matches_stored_results(ledger, batch, plan):
        plan = _rejected(ledger, Problem("plan_damaged", None, _CANNOT_REBUILD, None))
    key = ledger.keys.batch(batch.id).plan
    if ledger.storage.create(key, records.encode(plan)):
        ledger.cache_plan(batch.id, plan)
        return plan
    return records.decode(Plan, ledger.storage.get(key), key)


def check_input(
    read: Callable[[], Iterable[bytes]],
    parser: Parser,
    renderers: RendererRegistry,
    sizes: Limits,
    *,
    model: Model | None = None,
    on_invalid: str,
    every_prompt: bool,
    max_slow_prompts: int = maxsize,
    rows: RowOptions | None = None,
    on_progress: Callable[[int, int], object] = lambda _bytes, _requests: None,
) -> tuple[Scan, Model | None]:
    """Check a file in the way that `validate` and all planners do.

    `read` opens the file, and `model` is what the batch has been created for, if known.
    Return what was found, and the model that the file is for; None if that is a
    problem. Without `every_prompt`, only the first prompts are checked, until one can
    be answered: in this way a batch without any needs no engine. For
    `max_slow_prompts` see `PromptChecker`. If the lines were made of `rows`, problems
    name these.

    Raises:
        ConfigError: the model's files are invalid.

    """
    check = PromptChecker(
        parser, renderers, model, every=every_prompt, max_slow=max_slow_prompts
    )
    found = scan(
        read,
        parser,
        sizes,
        check=check,
        on_invalid=on_invalid,
        place_of=partial(place_of, rows),
        on_progress=on_progress,
    )
    condense(found, parser.model)
    return found, model or _find_model(parser, renderers.catalog, found)


def _find_model(parser: Parser, catalog: Catalog, found: Scan) -> Model | None:
    """Return the model that the lines name; add a problem if there is none."""
    if parser.model is None:
        return None
    try:
        return catalog.find(parser.model)
    except ModelNotFoundError as error:
        found.add([Problem("model_not_found", None, error.message, "model")])
        return None


def _check_limit(batch: Batch, model: Model, found: Scan) -> None:
    """Add a problem if the cost limit can't be applied."""
    try:
        check_cost_limit(batch.max_cost, model.price, model.name)
    except UsageError as error:
        problem = Problem("model_without_price", None, error.message, "max_cost")
        found.add([problem])


def _plan(
    ledger: Ledger, found: Scan, model: Model | None, max_line_bytes: int
) -> Plan:
    return Plan(
        created_at=ledger.now(),
        model=model,
        requests=found.requests,
        invalid_lines=found.invalid,
        shards=[] if found.failing_problems else found.shards,
        problems=found.first_problems(),
        max_line_bytes=max_line_bytes,
        ignored_fields=dict(found.ignored_fields),
    )
