"""Divides the GPUs of this machine, or its cores, among several engines."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from batchchat.jobs.errors import ConfigError, UsageError
from batchchat.workers.engine.engine_check import SIZES
from batchchat.workers.engine.gpus import chosen_gpus, visible_gpus

AUTO = "auto"
_MAX_ENGINES = 64
_CACHE_SPACE = "VLLM_CPU_KVCACHE_SPACE"


class EngineSlot(NamedTuple):
    """The part of a machine that one engine uses: GPUs, or on a CPU its cores.

    Without either, the engine uses what its process may use.
    """

    number: int
    gpus: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()
    cache_gib: int | None = None
    """Memory for the KV cache of a CPU engine in GiB; None for the default."""

    @property
    def place(self) -> str:
        """What the engine runs on, for display."""
        if self.gpus:
            return f"GPU {','.join(self.gpus)}"
        if len(self.cores) == 1:
            return f"core {self.cores[0]}"
        return f"{len(self.cores)} cores" if self.cores else "all cores"

    def environment(self) -> dict[str, str]:
        """Return the variables of the engine's process that differ from this one's."""
        if self.gpus:
            return {
                "CUDA_VISIBLE_DEVICES": ",".join(self.gpus),
                # The order in which `nvidia-smi` numbers them.
                "CUDA_DEVICE_ORDER": os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
            }
        found = {"OMP_NUM_THREADS": str(len(self.cores))} if self.cores else {}
        if self.cache_gib is not None:
            found[_CACHE_SPACE] = str(self.cache_gib)
        return found


class Slots(NamedTuple):
    """The engines to start, and the GPUs that are left over."""

    engines: tuple[EngineSlot, ...]
    unused: tuple[str, ...] = ()

    @property
    def need_processes(self) -> bool:
        """Whether the engines need processes of their own."""
        return len(self.engines) > 1 or bool(self.engines[0].gpus)

    def note(self) -> str | None:
        """Return which GPUs no engine uses, None if all are used."""
        if not self.unused:
            return None
        gpus = f"GPU {self.unused[0]} is"
        if len(self.unused) > 1:
            gpus = f"GPUs {', '.join(self.unused)} are"
        number = len(self.engines)
        text = f"{gpus} not used by {number} engine{'s' if number > 1 else ''}"
        return f"{text}; `--engines auto` uses all that it can"


def gpus_needed(engine: Mapping[str, Any]) -> int:
    """Return the number of GPUs of an engine with these arguments."""
    needed = 1
    for name in SIZES:
        size = engine.get(name, 1)
        needed *= size if isinstance(size, int) and size > 0 else 1
    return needed


def check_count(engines: str) -> None:
    """Check the option `--engines`. Raises `UsageError`."""
    if engines != AUTO and not (
        engines.isdecimal() and 0 < int(engines) <= _MAX_ENGINES
    ):
        raise UsageError(
            f"the number of engines, `{engines[:80]}`, must be `auto` or a number from"
            f" 1 to {_MAX_ENGINES}",
            hint="give it with `--engines` or BATCHCHAT_ENGINES; `auto` starts one on"
            " each group of GPUs that the model needs",
        )


def make_slots(engines: str, gpus: str | None, needed: int) -> Slots:
    """Return the slots of `engines` (a number or `auto`), each with `needed` GPUs.

    `gpus` names the GPUs to use; None means all that this process may use.

    Raises:
        UsageError: `engines` or `gpus` is not valid.
        ConfigError: there are not enough GPUs.

    """
    check_count(engines)
    usable = chosen_gpus(gpus) if gpus is not None else visible_gpus()
    if not usable:
        return Slots(_without_gpus(engines, is_cpu=usable is not None))
    possible = len(usable) // needed
    count = max(1, possible) if engines == AUTO else int(engines)
    if count > max(1, possible) or (gpus is not None and not possible):
        raise ConfigError(
            f"{count} {'engine' if count == 1 else 'engines'} of {needed}"
            f" {'GPU' if needed == 1 else 'GPUs'} each need {count * needed} GPUs, and"
            f" there are {len(usable)}",
            hint=f"the GPUs suffice for `--engines {possible}`"
            if possible
            else "set a smaller `tensor_parallel_size`, or name more GPUs",
        )
    slots = [
        EngineSlot(number + 1, usable[number * needed : (number + 1) * needed])
        for number in range(count)
    ]
    if count == 1 and gpus is None:  # vLLM itself selects the first ones
        return Slots((EngineSlot(1),), usable[needed:])
    return Slots(tuple(slots), usable[count * needed :])


def _without_gpus(engines: str, *, is_cpu: bool) -> tuple[EngineSlot, ...]:
    """Return slots with the cores of a CPU divided among them."""
    count = 1 if engines == AUTO else int(engines)
    if count == 1:
        return (EngineSlot(1),)
    if not is_cpu:
        raise ConfigError(
            "the GPUs of this machine are not known, so several engines cannot share"
            " them",
            hint="name them with `--gpus`, for example `--gpus 0,1`",
        )
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        raise ConfigError(
            f"{count} engines need {count} cores, and there are {len(cores)}",
            hint=f"use `--engines {len(cores)}` or fewer",
        )
    size, more = divmod(len(cores), count)
    slots, begin = [], 0
    for number in range(count):
        end = begin + size + (number < more)
        slots.append(EngineSlot(number + 1, (), tuple(cores[begin:end]), _cache(count)))
        begin = end
    return tuple(slots)


def _cache(engines: int) -> int | None:
    """Return each engine's share of the KV cache that the user has asked for."""
    given = os.environ.get(_CACHE_SPACE, "")
    return max(1, int(given) // engines) if given.isdecimal() else None


def use_slot(slots: Slots) -> None:
    """Have this process, which runs one engine, use that engine's GPUs.

    Raises:
        UsageError: there are several engines.

    """
    if len(slots.engines) > 1:
        raise UsageError(
            "`--no-restart` runs one engine, without a supervising process",
            hint="leave it out, or start one worker for each engine with `--gpus`",
        )
    os.environ.update(slots.engines[0].environment())
