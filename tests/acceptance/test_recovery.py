"""A batch that is killed, interrupted and starved ends as an undisturbed one."""

import json
from functools import cache
from itertools import groupby

import pytest

from tests.acceptance.disturbed_batch import CAPACITY, GRACE, SHARD, DisturbedBatch
from tests.acceptance.inputs import custom_ids, lognormal
from tests.acceptance.stored import checkpointed, checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REQUESTS = lognormal(600, middle=64, most=256)


def results(place, batch_id):
    """Return the results of a batch as its custom_ids, texts and seeds."""
    lines = map(json.loads, place.run("results", batch_id).out.splitlines())
    answers = [(line["custom_id"], line["response"]["body"]) for line in lines]
    return [
        (custom_id, body["choices"][0]["message"]["content"], body["seed"])
        for custom_id, body in answers
    ]


CATALOG = b"""
[models.demo]
source = "demo"
context_length = 2048
engine = { dtype = "float32", max_num_seqs = 128 }
"""


@pytest.fixture(scope="module")
def make_small(make_place):
    """Make places whose engine holds a part of the batch at once."""

    def make():
        place = make_place()
        place.environment["BATCHCHAT_CONFIG"] = str(place.file("few.toml", CATALOG))
        return place

    return make


@pytest.fixture(scope="module")
def hand_in(make_small):
    """Submit the requests in a place of their own, without running them."""

    def hand_in(*, simulated):
        place = make_small()
        batch_id = place.hand_in(place.file("requests.jsonl", REQUESTS))
        return DisturbedBatch(place, batch_id, simulated)

    return hand_in


@pytest.fixture(scope="module")
def on_vllm(hand_in):
    """A batch on vLLM that is killed, interrupted, and that loses its engine."""
    batch = hand_in(simulated=False)
    batch.interrupt_while_loading()
    batch.kill("killed")
    batch.kill_the_engine()
    return batch


@pytest.fixture(scope="module")
def on_two_engines(hand_in):
    """A batch on two vLLM engines that loses one of them."""
    batch = hand_in(simulated=False)
    batch.kill_one_of_two_engines()
    return batch


@pytest.fixture(scope="module")
def simulated(hand_in):
    """A batch of simulated text that is killed, interrupted, and out of disk space."""
    batch = hand_in(simulated=True)
    batch.interrupt()
    batch.fill_the_disk()
    batch.kill("killed")
    batch.terminate_and_interrupt()
    batch.kill("killed again")
    batch.finish()
    return batch


@pytest.fixture(
    scope="module",
    params=[pytest.param("on_vllm", marks=pytest.mark.engine), "simulated"],
)
def disturbed(request):
    """Each of the two batches."""
    return request.getfixturevalue(request.param)


def test_every_request_is_answered_once_in_the_order_of_the_input(disturbed):
    answers = results(disturbed.place, disturbed.batch_id)
    answered = [custom_id for custom_id, _, _ in answers]
    assert answered == custom_ids(REQUESTS)
    assert len(set(answered)) == 600


@pytest.fixture(scope="module")
def undisturbed(hand_in):
    """Return the results of an undisturbed run, on vLLM or simulated."""

    @cache
    def run(*, simulated):
        batch = hand_in(simulated=simulated)
        batch.finish()
        return results(batch.place, batch.batch_id)

    return run


def test_the_answers_are_those_of_an_undisturbed_run(disturbed, undisturbed):
    found = results(disturbed.place, disturbed.batch_id)
    assert found == undisturbed(simulated=disturbed.simulated)


@pytest.mark.engine
def test_two_engines_of_which_one_dies_give_the_answers_of_one(
    on_two_engines, undisturbed
):
    found = results(on_two_engines.place, on_two_engines.batch_id)
    assert [custom_id for custom_id, _, _ in found] == custom_ids(REQUESTS)
    assert found == undisturbed(simulated=False)
    done = on_two_engines.ends["one of two engines killed"]
    assert done.code == 0
    assert "died (the engine's process was ended by signal 9); restarting" in done.err
    batch = on_two_engines.place.run("status", on_two_engines.batch_id, "--json").json()
    (engine,) = batch["engines"].values()
    assert engine["arguments"]["enable_prefix_caching"] is False


def test_checkpointed_results_are_not_generated_again(disturbed):
    lines = checkpointed(checkpoints(disturbed.storage))
    assert sorted(lines) == list(range(1, 601))


def test_a_kill_costs_at_most_what_was_in_flight_or_just_finished(disturbed):
    for lost in disturbed.lost:
        print(f"killed: {lost.begun} begun, {lost.kept} kept, {lost.most} lost at most")  # noqa: T201
        # of the last shard not all need to have been asked for, and what finished
        # since the last checkpoint is less than a shard
        assert lost.most <= CAPACITY + 2 * SHARD
        assert lost.kept > 0


def test_an_interrupt_ends_the_run_within_its_grace_and_says_how_to_continue(simulated):
    done = simulated.ends["interrupted"]
    assert done.code == 130
    assert done.seconds < GRACE + 20
    assert f"stopping: running requests get {GRACE}s to finish" in done.err
    assert f"hint: continue with `batchchat resume {simulated.batch_id}`" in done.err
    assert "Traceback" not in done.err


def assert_stopped_at_once(batch, done):
    assert done.code == 130
    assert done.seconds < 20
    assert f"stopped; continue with `batchchat resume {batch.batch_id}`" in done.err


def test_a_second_signal_ends_the_run_at_once(simulated):
    assert_stopped_at_once(simulated, simulated.ends["terminated and interrupted"])


@pytest.mark.engine
def test_an_interrupt_while_the_model_loads_ends_the_run_at_once(on_vllm):
    assert_stopped_at_once(on_vllm, on_vllm.ends["interrupted while loading"])


def test_a_full_disk_ends_the_run_with_a_reason_and_a_hint(simulated):
    done = simulated.ends["disk full"]
    assert done.code == 2
    assert "error: no room to write" in done.err
    assert "\n\nhint: free some space" in done.err
    assert "Traceback" not in done.err


@pytest.mark.engine
def test_an_engine_that_dies_is_replaced_and_the_run_completes(on_vllm):
    done = on_vllm.ends["engine killed"]
    assert done.code == 0
    is_loading = (
        line.startswith("loading the model") for line in done.err.splitlines()
    )
    assert [key for key, _ in groupby(is_loading)].count(True) == 2
    assert "completed  600 of 600 requests" in done.err
    assert "engine died (its process was killed by SIGKILL" in done.err
    assert "); restarting, 1 of 8" in done.err


@pytest.mark.engine
def test_the_engine_s_log_covers_all_runs_and_has_no_prompts(on_vllm):
    done = on_vllm.place.run("logs", on_vllm.batch_id)
    assert done.code == 0
    assert done.out.count(b"--- run of ") == len(on_vllm.ends)
    assert b"Question" not in done.out
    assert b"and then?" not in done.out


def test_the_counts_are_those_of_an_undisturbed_run(disturbed):
    batch = disturbed.place.run("status", disturbed.batch_id, "--json").json()
    assert batch["status"] == "completed"
    counts = {"total": 600, "completed": 600, "failed": 0}
    assert batch["request_counts"] == counts


@pytest.mark.engine
def test_the_usage_is_that_of_each_request_once(on_vllm):
    batch = on_vllm.place.run("status", on_vllm.batch_id, "--json").json()
    asked = [json.loads(line)["body"]["max_tokens"] for line in REQUESTS.splitlines()]
    assert batch["usage"]["output_tokens"] == sum(asked)
