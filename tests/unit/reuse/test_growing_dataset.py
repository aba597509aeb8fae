"""A dataset that grows: only the rows that are new or changed are computed."""

import json
from io import BytesIO

from pyarrow import parquet

from batchchat.jobs.results.parquet import write_parquet
from tests.support.reusing import count_computed, run
from tests.support.running import SETTINGS, Bench

SAMPLES = 3
TODAY, NEW, CHANGED = 2_000, 500, 20


def dataset(rows, changed=()):
    """Return the requests of a dataset, `SAMPLES` of each row."""
    requests = (
        {
            "custom_id": f"row-{row}-sample-{sample}",
            "temperature": 0.8,
            "max_tokens": 4,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"{'new ' * (row in changed)}row {row}"},
            ],
        }
        for row in range(rows)
        for sample in range(SAMPLES)
    )
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def test_only_new_and_changed_rows_of_a_growing_dataset_run(tmp_path, monkeypatch):
    settings = SETTINGS.model_copy(update={"shard_requests": 500})
    bench = Bench(tmp_path, settings=settings)
    computed = count_computed(bench, monkeypatch)
    first = run(bench, dataset(TODAY))
    assert len(computed) == TODAY * SAMPLES
    computed.clear()
    changed = range(0, TODAY, TODAY // CHANGED)
    second = run(bench, dataset(TODAY + NEW, changed), first.batch.id)
    assert len(computed) == (NEW + CHANGED) * SAMPLES
    assert second.counts().completed == (TODAY + NEW) * SAMPLES
    assert second.reused() == (TODAY - CHANGED) * SAMPLES
    sink = BytesIO()
    write_parquet(bench.ledger, second, sink)
    table = parquet.read_table(sink, columns=["custom_id", "reused_from"])
    origins = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
    assert origins["row-0-sample-0"] is None
    name = "row-1-sample-0"
    assert json.loads(origins[name]) == {
        "batch_id": first.batch.id,
        "custom_id": name,
    }
    assert [*origins.values()].count(None) == len(computed)
