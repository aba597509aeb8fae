"""The engine arguments that a batch runs with, and how they differ from its plan's.

A plan pins everything that determines its prompts, but not the engine's arguments: a
batch whose engine ran out of memory can continue with a smaller `max_model_len`, and
the workers of a cluster have different GPUs.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from batchchat.jobs.catalog.catalog import Catalog, Model

_WITHOUT_EFFECT = frozenset(
    [
        "async_scheduling",
        "block_size",
        "disable_log_stats",
        "distributed_executor_backend",
        "enable_prefix_caching",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "load_format",
        "max_num_batched_tokens",
        "max_num_seqs",
        "max_parallel_loading_workers",
        "swap_space",
    ]
)
"""Arguments that change speed and memory, but no answer."""


def with_current_engine(planned: Model, catalog: Catalog) -> Model:
    """Return a planned model with the engine arguments that the catalog has now.

    A `context_length` that differs from the planned one becomes the `max_model_len`.
    """
    entry = catalog.entry(planned.name)
    if entry is None or entry.source != planned.source:
        return catalog.overridden(planned)
    engine = dict(entry.engine)
    if entry.context_length not in (None, planned.context_length):
        engine.setdefault("max_model_len", entry.context_length)
    return msgspec.structs.replace(planned, engine=engine)


def describe_changes(planned: Model, current: Model) -> str | None:
    """Return how the engine arguments differ from the planned ones, None if equal."""
    before, after = planned.engine, current.engine
    names = [
        name
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if not names:
        return None
    changes = ", ".join(
        f"{name} {_shown(before, name)} -> {_shown(after, name)}" for name in names
    )
    text = f"engine arguments have changed since the batch was planned: {changes}"
    affecting = [name for name in names if name not in _WITHOUT_EFFECT]
    if affecting:
        text += (
            f"; {', '.join(affecting)} can affect answers; finished results are kept"
        )
    return text


def differing_fields(engines: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the fields in which the identities of engines differ, with the values."""
    identities = [_flat(engine) for engine in engines]
    names = sorted({name for identity in identities for name in identity})
    values = {name: [one.get(name) for one in identities] for name in names}
    return {
        name: list(dict.fromkeys("unset" if it is None else str(it) for it in found))
        for name, found in values.items()
        if any(value != found[0] for value in found)
    }


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    arguments = identity.get("arguments")
    fields = {name: it for name, it in identity.items() if name != "arguments"}
    return {**(arguments if isinstance(arguments, dict) else {}), **fields}


def _shown(arguments: dict[str, Any], name: str) -> str:
    return str(arguments.get(name, "unset"))
