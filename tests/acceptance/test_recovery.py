"""A batch that is killed, interrupted and starved ends as an undisturbed one."""

import json

import pytest

from tests.acceptance import requirements
from tests.acceptance.disturbed_batch import CAPACITY, GRACE, SHARD, Story
from tests.acceptance.inputs import custom_ids, lognormal
from tests.acceptance.stored import checkpointed, checkpoints

pytestmark = requirements.engine()

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
def undisturbed(make_small):
    place = make_small()
    batch_id = place.hand_in(place.file("requests.jsonl", REQUESTS))
    assert place.run("resume", batch_id, engine=True).code == 0
    return results(place, batch_id)


@pytest.fixture(scope="module")
def story(make_small):
    place = make_small()
    batch_id = place.hand_in(place.file("requests.jsonl", REQUESTS))
    story = Story(place, batch_id)
    story.kill("killed")
    story.kill("killed again")
    story.interrupt_while_loading()
    story.interrupt()
    story.fill_the_disk()
    story.terminate_and_interrupt()
    story.kill_the_engine()
    return story


def test_every_request_is_answered_once_in_the_order_of_the_input(story):
    answered = [custom_id for custom_id, _, _ in results(story.place, story.batch_id)]
    assert answered == custom_ids(REQUESTS)
    assert len(set(answered)) == 600


def test_the_answers_are_those_of_an_undisturbed_run(story, undisturbed):
    assert results(story.place, story.batch_id) == undisturbed


def test_nothing_that_was_kept_is_generated_again(story):
    lines = checkpointed(checkpoints(story.storage))
    assert sorted(lines) == list(range(1, 601))


def test_a_kill_costs_at_most_what_was_in_flight_or_just_finished(story):
    for lost in story.lost:
        print(f"killed: {lost.begun} begun, {lost.kept} kept, {lost.most} lost at most")  # noqa: T201
        # of the last shard not all need to have been asked for, and what finished
        # since the last checkpoint is less than a shard
        assert lost.most <= CAPACITY + 2 * SHARD
        assert lost.kept > 0


def test_no_process_is_left_however_a_run_ends(story):
    assert {name: left for name, left in story.left.items() if left} == {}
    assert len(story.left) == 7


def test_one_interrupt_ends_within_its_grace_and_says_how_to_go_on(story):
    done = story.ends["interrupted"]
    assert done.code == 130
    assert done.seconds < GRACE + 5
    assert f"stopping: running requests get {GRACE}s to finish" in done.err
    assert f"hint: continue with `batchchat resume {story.batch_id}`" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["hurried", "interrupted while loading"])
def test_a_second_interrupt_or_one_while_loading_ends_at_once(story, name):
    done = story.ends[name]
    assert done.code == 130
    assert done.seconds < 3
    assert f"stopped; continue with `batchchat resume {story.batch_id}`" in done.err


def test_a_full_disk_ends_the_run_with_a_reason_and_a_hint(story):
    done = story.ends["out of room"]
    assert done.code == 2
    assert "error: no room to write" in done.err
    assert "\n\nhint: free some space" in done.err
    assert "Traceback" not in done.err


def test_an_engine_that_dies_is_replaced_and_the_run_completes(story):
    done = story.ends["without its engine"]
    assert done.code == 0
    assert done.err.count("loading the model") == 2
    assert "completed  600 of 600 requests" in done.err


def test_the_account_is_as_if_nothing_had_happened(story):
    batch = story.place.run("status", story.batch_id, "--json").json()
    assert batch["status"] == "completed"
    counts = {"total": 600, "completed": 600, "failed": 0}
    assert batch["request_counts"] == counts
    asked = [json.loads(line)["body"]["max_tokens"] for line in REQUESTS.splitlines()]
    assert batch["usage"]["output_tokens"] == sum(asked)
