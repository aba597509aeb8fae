"""Finds what a batch could reuse, before it is created."""

from collections.abc import Callable, Iterable
from contextlib import closing

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.files.reused_batches import with_reused_batches
from batchchat.jobs.ids import new_batch_id, new_file_id
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Plan, Shard
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.requests.named_model import named_model
from batchchat.jobs.requests.schema import ENDPOINT
from batchchat.jobs.reuse.search import find_answers


def reusable_lines(
    ledger: Ledger,
    options: BatchOptions,
    read: Callable[[], Iterable[bytes]],
    shards: list[Shard],
    renderers: RendererRegistry,
    *,
    max_line_bytes: int,
) -> set[int]:
    """Return the lines of the requests that earlier batches have answered.

    `read` opens the request lines, whose `shards` the scanner has found. Nothing is
    stored, except an index that an earlier batch lacks.

    Raises:
        UsageError: the batches that `options` names can't be reused.
        ModelNotFoundError: the model is unknown.

    """
    name = options.model or named_model(next(iter(read()), b""))
    if name is None or not shards:
        return set()
    model = renderers.catalog.find(name)
    chosen = with_reused_batches(ledger, options, None, model.name)
    if not chosen.reuse:
        return set()
    batch, plan = _as_created(ledger, chosen, model, shards, max_line_bytes)
    found = find_answers(ledger, batch, plan, read(), renderers)
    with closing(found.answers) as answers:
        return {*answers.lines()}


def _as_created(
    ledger: Ledger,
    options: BatchOptions,
    model: Model,
    shards: list[Shard],
    max_line_bytes: int,
) -> tuple[Batch, Plan]:
    """Return the batch and the plan as they would be stored."""
    now = ledger.now()
    batch = Batch(
        id=new_batch_id(),
        project=ledger.project,
        input_file_id=new_file_id(),
        endpoint=ENDPOINT,
        created_at=now,
        expires_at=None,
        model=options.model,
        seed=options.seed or 0,
        prompt_time=options.prompt_time,
        reuse=options.reuse,
        reuse_across_engines=options.reuse_across_engines,
    )
    plan = Plan(
        created_at=now,
        model=model,
        requests=sum(shard.requests for shard in shards),
        invalid_lines=0,
        shards=shards,
        problems=[],
        max_line_bytes=max_line_bytes,
    )
    return batch, plan
