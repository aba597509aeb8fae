"""The GPUs that a command may use are found without torch."""

import pytest

from batchchat.jobs.errors import BatchchatError
from batchchat.workers.engine import gpus
from batchchat.workers.engine.gpus import chosen_gpus, visible_gpus

LIST = """\
GPU 0: NVIDIA H200 (UUID: GPU-11111111-aaaa-bbbb-cccc-000000000000)
GPU 1: NVIDIA H200 (UUID: GPU-22222222-aaaa-bbbb-cccc-000000000000)
"""
WITH_MIG = (
    LIST
    + """\
  MIG 3g.71gb     Device  0: (UUID: MIG-33333333-aaaa-bbbb-cccc-000000000000)
  MIG 3g.71gb     Device  1: (UUID: MIG-44444444-aaaa-bbbb-cccc-000000000000)
"""
)
MIG = tuple(f"MIG-{n * 8}-aaaa-bbbb-cccc-000000000000" for n in "34")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Make a machine with devices, and with an `nvidia-smi` that prints a text."""
    monkeypatch.setattr(gpus, "is_cpu_build", lambda: False)
    monkeypatch.setattr(gpus, "_DEVICES", tmp_path / "dev")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(count, listed=None, visible=None):
        for folder in ("dev", "bin"):
            (tmp_path / folder).mkdir()
        for name in [f"nvidia{n}" for n in range(count)] + ["nvidiactl", "null"]:
            (tmp_path / "dev" / name).touch()
        if listed is not None:
            program = tmp_path / "bin" / "nvidia-smi"
            program.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{listed}END\n")
            program.chmod(0o755)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return make


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (None, ("0", "1")),
        ("", ("0", "1")),
        ("Failed to initialize NVML: Driver/library version mismatch\n", ("0", "1")),
        (LIST, ("0", "1")),
        (WITH_MIG, ("0", *MIG)),
    ],
)
def test_gpus_are_found_and_mig_devices_replace_theirs(machine, listed, found):
    machine(2, listed)
    assert visible_gpus() == found


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("2,0", ("2", "0")),
        ("GPU-a, MIG-b", ("GPU-a", "MIG-b")),
        ("0,-1,1", ("0",)),
        ("0,,1", ("0",)),
        ("", ()),
        ("-1", ()),
    ],
)
def test_visible_devices_limit_the_gpus_as_in_cuda(machine, visible, found):
    machine(3, LIST, visible)
    assert visible_gpus() == found


def test_without_devices_the_gpus_are_not_known(machine):
    machine(0)
    assert visible_gpus() is None
    assert chosen_gpus("0,1") == ("0", "1")


def test_a_cpu_build_has_no_gpus(machine, monkeypatch):
    machine(2, LIST)
    monkeypatch.setattr(gpus, "is_cpu_build", lambda: True)
    assert visible_gpus() == ()
    with pytest.raises(BatchchatError, match="cannot use GPU `0`") as caught:
        chosen_gpus("0")
    assert "none" in (caught.value.hint or "")


@pytest.mark.parametrize("chosen", ["1", "1,0", " 0 , 1 ", "GPU-22222222", MIG[0]])
def test_gpus_are_chosen_by_index_and_by_uuid(machine, chosen):
    machine(2, WITH_MIG.replace("GPU 1", "GPU 2") if chosen in MIG else LIST)
    assert chosen_gpus(chosen) == tuple(it.strip() for it in chosen.split(","))


@pytest.mark.parametrize(
    ("chosen", "visible", "message"),
    [
        ("", None, "must be different names"),
        ("0,", None, "must be different names"),
        ("1,1", None, "must be different names"),
        ("2", None, "cannot use GPU `2`"),
        ("0", "1", "cannot use GPU `0`"),
        ("GPU-a", "GPU-b", "cannot use GPU `GPU-a`"),
    ],
)
def test_other_choices_are_errors_with_a_hint(machine, chosen, visible, message):
    machine(2, LIST, visible)
    with pytest.raises(BatchchatError, match=message) as caught:
        chosen_gpus(chosen)
    assert caught.value.hint
