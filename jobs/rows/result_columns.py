"""The columns of results, and how those of the input are named beside them.

`docs/results.md` shows them. `jobs/results/columns.py` has their types in Arrow.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from batchchat.jobs.errors import UsageError

PREFIX = "input_"
"""What the name of a column of the input begins with if a column of results has it."""


_MAX_SHOWN_NAMES = 20


class Column(NamedTuple):
    """A column of results: its name, its type, and what it holds."""

    name: str
    type: str
    meaning: str


ROW_COLUMNS = (
    Column("row", "int64", "the row of the input, counted from 1"),
    Column("sample", "int32", "the number of the row's sample, counted from 1"),
    Column("prompt_text", "string", "the text of the last user message"),
    Column("reasoning_content", "string", "the reasoning of the first answer"),
    Column("tool_calls", "list of JSON", "the tool calls of the first answer"),
)
"""The columns that only a batch of rows has, beside those of its input."""

COLUMNS = (
    Column("custom_id", "string", "the `custom_id` of the request"),
    Column("line", "int64", "the line of the request, counted from 1"),
    Column(
        "status",
        "string",
        "`completed` or `failed`; a request that never ran is `failed`, too",
    ),
    Column("model", "string", "the model of the batch"),
    Column("content", "string", "the text of the first answer"),
    Column("finish_reason", "string", "why the first answer ended"),
    Column(
        "messages",
        "list of messages",
        "the conversation with its first answer, for fine-tuning",
    ),
    Column("tools", "JSON", "the tools of the request"),
    Column("n_choices", "int32", "the number of answers, the request's `n`"),
    Column("choices", "list of choices", "every answer"),
    Column("prompt_tokens", "int64", "the number of tokens in the prompt"),
    Column("completion_tokens", "int64", "the number of tokens in the answers"),
    Column("total_tokens", "int64", "the sum of the two"),
    Column("cached_tokens", "int64", "tokens of the prompt that were cached"),
    Column(
        "estimated_cost",
        "decimal(38, 18)",
        "US dollars, at the prices of the catalog; null if it has none",
    ),
    Column("seed", "int64", "the seed of the first answer"),
    Column("system_fingerprint", "string", "the engine, a key of `engines`"),
    Column("metadata", "JSON", "the `metadata` of the request"),
    Column(
        "reused_from",
        "JSON",
        "the `batch_id` and the `custom_id` of a [reused](reuse.md) answer",
    ),
    Column("error_code", "string", "the code of the error if the request failed"),
    Column("error_message", "string", "what is wrong if the request failed"),
    Column(
        "response",
        "JSON text",
        "the whole response; null if the request never ran",
    ),
)
"""The columns of every batch."""

_RESERVED = frozenset(column.name for column in (*ROW_COLUMNS, *COLUMNS))


def result_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name that each column of the input has in results.

    A name that a column of results has gets a prefix, also if it differs in case, since
    DuckDB and Spark do not distinguish the two.
    """
    names = list(names)
    found: dict[str, str] = {}
    taken = {*_RESERVED, *(name.lower() for name in names)}
    for name in names:
        new = name
        if name.lower() in _RESERVED:
            while new.lower() in taken:
                new = f"{PREFIX}{new}"
            taken.add(new.lower())
        found[name] = new
    return found


def renamed_columns(names: Iterable[str]) -> dict[str, str]:
    """Return the columns of the input whose name in results is another one."""
    return {name: new for name, new in result_names(names).items() if name != new}


def check_columns(wanted: tuple[str, ...] | None, known: list[str]) -> list[str]:
    """Return the `wanted` names, each once, or all. Raises `UsageError`."""
    if wanted is None:
        return known
    for name in wanted:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            shown = ", ".join(f"`{one}`" for one in known[:_MAX_SHOWN_NAMES])
            more = ", …" if len(known) > _MAX_SHOWN_NAMES else ""
            raise UsageError(
                f"the input has no column `{name}`; its columns are {shown}{more}",
                hint=f"use `--columns {near[0]}`" if near else "leave it out",
            )
    return [*dict.fromkeys(wanted)]
