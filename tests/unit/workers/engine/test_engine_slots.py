"""The GPUs or the cores of a machine are divided among its engines."""

import os

import pytest

from batchchat.jobs.errors import BatchchatError
from batchchat.workers.engine import engine_slots
from batchchat.workers.engine.engine_slots import (
    Slots,
    gpus_needed,
    make_slots,
    use_slot,
)


@pytest.fixture
def with_gpus(monkeypatch):
    """Have the machine this many GPUs; None if they are not known."""

    def have(count):
        found = None if count is None else tuple(map(str, range(count)))
        monkeypatch.setattr(engine_slots, "visible_gpus", lambda: found)
        choose = lambda names: tuple(names.split(","))  # noqa: E731
        monkeypatch.setattr(engine_slots, "chosen_gpus", choose)

    return have


def gpus_of(slots: Slots) -> list[str]:
    return [",".join(slot.gpus) for slot in slots.engines]


@pytest.mark.parametrize(
    ("given", "groups", "unused"),
    [
        ((8, "auto", None, 1), list("01234567"), ""),
        ((8, "auto", None, 2), ["0,1", "2,3", "4,5", "6,7"], ""),
        ((7, "auto", None, 2), ["0,1", "2,3", "4,5"], "6"),
        ((8, "auto", None, 3), ["0,1,2", "3,4,5"], "67"),
        ((8, "3", None, 1), ["0", "1", "2"], "34567"),
        ((8, "2", "5,7,6", 1), ["5", "7"], "6"),
        ((8, "auto", "5,7", 1), ["5", "7"], ""),
        ((8, "1", "5", 1), ["5"], ""),
        ((8, "1", None, 1), [""], "1234567"),
        ((1, "auto", None, 1), [""], ""),
        ((1, "auto", None, 4), [""], ""),  # vLLM reports it, or has GPUs elsewhere
        ((0, "auto", None, 1), [""], ""),
        ((None, "auto", None, 1), [""], ""),
        ((None, "2", "0,1", 1), ["0", "1"], ""),
    ],
)
def test_each_engine_gets_a_group_of_gpus(with_gpus, given, groups, unused):
    gpus, *options = given
    with_gpus(gpus)
    slots = make_slots(*options)
    assert gpus_of(slots) == groups
    assert "".join(slots.unused) == unused
    assert [slot.number for slot in slots.engines] == [*range(1, len(groups) + 1)]
    assert slots.need_processes == (groups != [""])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((8, "0", None, 1), "must be `auto` or a number"),
        ((8, "-1", None, 1), "must be `auto` or a number"),
        ((8, "2.5", None, 1), "must be `auto` or a number"),
        ((8, "all", None, 1), "must be `auto` or a number"),
        ((8, "65", None, 1), "must be `auto` or a number"),
        ((4, "3", None, 2), "3 engines of 2 GPUs each need 6 GPUs, and there are 4"),
        ((4, "2", "1", 1), "2 engines of 1 GPU each need 2 GPUs, and there are 1"),
        ((4, "auto", "1", 2), "1 engine of 2 GPUs each need 2 GPUs, and there are 1"),
        ((None, "2", None, 1), "are not known"),
    ],
)
def test_impossible_divisions_are_errors_with_a_hint(with_gpus, given, message):
    gpus, *options = given
    with_gpus(gpus)
    with pytest.raises(BatchchatError, match=message) as caught:
        make_slots(*options)
    assert caught.value.hint


def test_unused_gpus_are_reported(with_gpus):
    with_gpus(7)
    assert make_slots("auto", None, 1).note() is None
    note = make_slots("auto", None, 2).note() or ""
    assert note.startswith("GPU 6 is not used by 3 engines")
    note = make_slots("1", None, 1).note() or ""
    assert note.startswith("GPUs 1, 2, 3, 4, 5, 6 are not used by 1 engine;")


def test_an_engine_sees_its_gpus_only(with_gpus, monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    with_gpus(4)
    _, second = make_slots("auto", None, 2).engines
    assert second.environment() == {
        "CUDA_VISIBLE_DEVICES": "2,3",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    assert second.place == "GPU 2,3"


@pytest.mark.parametrize(
    ("space", "share"), [(None, None), ("8", "4"), ("1", "1"), ("x", None)]
)
def test_the_cores_and_the_cache_of_a_cpu_are_divided(
    with_gpus, monkeypatch, space, share
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 3, 5, 7})
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    if space is not None:
        monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", space)
    with_gpus(0)
    one, other = make_slots("2", None, 1).engines
    assert (one.cores, other.cores) == ((0, 2, 3), (5, 7))
    assert one.environment()["OMP_NUM_THREADS"] == "3"
    assert one.environment().get("VLLM_CPU_KVCACHE_SPACE") == share
    assert (one.place, other.place) == ("3 cores", "2 cores")
    with pytest.raises(BatchchatError, match="6 engines need 6 cores"):
        make_slots("6", None, 1)


def test_a_process_with_one_engine_uses_its_gpus(with_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with_gpus(4)
    use_slot(make_slots("1", "3", 1))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    with pytest.raises(BatchchatError, match="`--no-restart` runs one engine"):
        use_slot(make_slots("2", None, 1))


def test_an_engine_needs_the_product_of_its_parallel_sizes():
    assert gpus_needed({}) == 1
    sizes = {"tensor_parallel_size": 4, "pipeline_parallel_size": 2}
    assert gpus_needed(sizes) == 8
    assert gpus_needed({"tensor_parallel_size": "x", "max_num_seqs": 9}) == 1
