"""The format of the results follows from the name of the output."""

from tests.acceptance.inputs import few

FAST = {"simulated_tokens_per_second": 10_000, "config": ""}


def test_an_output_named_parquet_is_written_as_parquet(place):
    file = place.file("in.jsonl", few())
    command = ["submit", file, "--model", "demo", "--output", "out.parquet"]
    done = place.run(*command, settings=FAST)
    assert done.code == 0, done.err
    assert (place.folder / "out.parquet").read_bytes().startswith(b"PAR1")
    batch_id = done.out.decode().strip()
    written = place.run("results", batch_id, "--output", "again.parquet")
    assert written.code == 0, written.err
    assert (place.folder / "again.parquet").read_bytes().startswith(b"PAR1")
