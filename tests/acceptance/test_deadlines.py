"""Deadlines of batches that a command runs in its own process."""

from tests.acceptance.inputs import few

FAST = {"simulated_tokens_per_second": 10_000}


def test_an_embedded_batch_has_no_deadline_unless_asked_for(place):
    file = place.file("in.jsonl", few())
    batch_id = place.hand_in(file)
    batch = place.run("status", batch_id, "--json").json()
    assert (batch["completion_window"], batch["expires_at"]) == ("none", None)
    done = place.run(
        "submit", file, "--model", "demo", "--no-wait", "--completion-window", "2h"
    )
    batch = place.run("status", done.out.decode().strip(), "--json").json()
    assert batch["expires_at"] - batch["created_at"] == 7_200
    extended = place.run("resume", batch["id"], "--extend", "3d", settings=FAST)
    assert extended.code == 0
    refused = place.run("resume", batch["id"], "--extend", "3d")
    assert refused.code == 2
    assert "its status is completed" in refused.err
    assert f"batchchat retry {batch['id']}" in refused.err
    invalid = place.run("resume", batch_id, "--extend", "5s")
    assert (invalid.code, "completion window" in invalid.err) == (2, True)


def test_merging_needs_a_file(place):
    batch_id = place.hand_in(place.file("in.jsonl", few()))
    done = place.run("retry", batch_id, "--merge")
    assert done.code == 2
    assert "hint: name it with `--output PATH`" in done.err
