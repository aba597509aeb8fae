"""Batches that use the answers of earlier batches again."""

from typing import Any

from batchchat.jobs.files.reused_batches import with_reused_batches
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.workers.engine.echo_core import echo, start_echo
from tests.support.running import Bench, renderer


def submit(bench: Bench, data: bytes, *reuse: str, **options: Any) -> str:
    """Create a batch that reuses the batches that `reuse` names; return its id."""
    ledger = bench.ledger
    batch_id = new_batch_id()
    asked = BatchOptions(**{"model": "echo", "reuse": reuse, **options})
    chosen = with_reused_batches(ledger, asked, batch_id, "echo")
    file = store_file(ledger, [data], "input.jsonl")
    return create_batch(ledger, file, chosen, batch_id=batch_id).id


def count_computed(bench: Bench, monkeypatch: Any, **engine: Any) -> list[str]:
    """Have the bench's engine note the prompt of each request that it computes."""
    computed: list[str] = []

    def noted(work: Any) -> Any:
        computed.append(work.prompt.text)
        return echo(work)

    monkeypatch.setattr("batchchat.workers.engine.echo_core.echo", noted)
    bench.start_engine = lambda _: start_echo(renderer(), **engine)
    return computed


def run(bench: Bench, data: bytes, *reuse: str, **options: Any) -> State:
    """Run a batch that reuses the batches that `reuse` names."""
    return bench.run(submit(bench, data, *reuse, **options))
