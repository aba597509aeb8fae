"""A run uses the current engine arguments, and keeps what others have finished."""

import pytest
from msgspec.structs import replace

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.shards.shard_host import ShardHost
from tests.support.memory_broker import memory_environment
from tests.support.mortal_storage import Killed, Mortal
from tests.support.running import ECHO, SETTINGS, Bench, EchoRegistry, lines

LONG = b"a question that has far more tokens than the smaller engine can process"
LARGE = replace(ECHO, engine={"max_model_len": 512})
SMALL = replace(ECHO, engine={"max_model_len": 48})
REQUESTS = 30


def start(model):
    template = ChatTemplate("{{ messages[-1].content }}", {})
    length = model.engine["max_model_len"]
    renderer = PromptRenderer(template, lambda text: list(text.encode()), length)
    return start_echo(renderer)


def requests():
    """Return requests of which every third one needs the larger engine."""
    all_lines = lines(REQUESTS, max_tokens=4).splitlines(keepends=True)
    return b"".join(
        line.replace(b"question", LONG) if number % 3 == 0 else line
        for number, line in enumerate(all_lines)
    )


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, start_engine=start)
    use(bench, LARGE)
    return bench


def use(bench, model):
    """Have the catalog contain `model`."""
    bench.renderers = EchoRegistry(Catalog({"echo": model}), bench.locks)


def test_a_resumed_batch_runs_with_a_smaller_context(bench):
    batch_id = bench.submit(requests())
    with pytest.raises(Killed):
        bench.run(batch_id, Mortal(bench.storage, 9, after=True))
    assert bench.ledger.state(batch_id).counts().completed
    use(bench, SMALL)
    bench.progress = Progress()
    state = bench.run(batch_id)
    answers, errors = bench.results(state)
    assert len(answers) + len(errors) == REQUESTS
    assert errors
    for line in errors:
        error = line["response"]["body"]["error"]
        assert error["code"] == "context_length_exceeded"
    too_long = {f"q-{number}" for number in range(0, REQUESTS, 3)}
    assert {line["custom_id"] for line in errors} < too_long
    (notice,) = bench.progress.notices
    assert notice == (
        "engine arguments have changed since the batch was planned:"
        " max_model_len 512 -> 48;"
        " max_model_len can affect answers; finished results are kept"
    )


def test_a_batch_that_was_not_planned_yet_is_checked_with_current_arguments(bench):
    started = []

    def start_and_note(model):
        started.append(model)
        return start(model)

    bench.start_engine = start_and_note
    input_file = store_file(bench.ledger, [requests()], "input.jsonl")
    options = BatchOptions(model="echo", seed=1)
    batch_id = create_batch(bench.ledger, input_file, options, resolved_model=SMALL).id
    answers, errors = bench.results(bench.run(batch_id))
    assert (len(answers), errors) == (REQUESTS, [])
    assert [model.engine for model in started] == [LARGE.engine]
    assert not bench.progress.notices


def test_a_worker_reports_arguments_that_differ_from_the_plan_once(bench, caplog):
    batch_id = bench.submit(requests())
    with pytest.raises(Killed):
        bench.run(batch_id, Mortal(bench.storage, 2, after=True))
    engine = start(SMALL)
    host = ShardHost(memory_environment(bench.storage, SETTINGS), SMALL, engine)
    for shard in range(3):
        host.run(WorkMessage.for_shard("default", batch_id, shard))
    engine.close()
    keys = bench.ledger.keys.batch(batch_id)
    assert bench.ledger.commit(keys, 2).counts.failed
    reports = [text for text in caplog.messages if "engine arguments" in text]
    assert len(reports) == 1
    assert batch_id in reports[0]
