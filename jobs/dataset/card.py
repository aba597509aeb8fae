"""The dataset card: a `README.md` whose metadata the Hugging Face Hub reads."""

from typing import Any

from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_object import BatchObject
from batchchat.jobs.rows.row_options import RowOptions

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
"""The Hub's names of sizes, each with the number of rows that it ends before."""

_LICENSE = """\
> **License: not set.** Add `license:` to the metadata above before you publish the
> dataset. It depends on the license of the model and on the sources of the prompts.
"""


def dataset_card(batch: BatchObject, rows: int) -> str:
    """Return the card of a dataset with that number of rows."""
    import yaml

    metadata = yaml.safe_dump(_metadata(rows), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{metadata}---\n",
        f"# Results of {batch.id}\n",
        _LICENSE,
        _table(_facts(batch, rows)),
        *_prompt(batch.rows),
        _engines(batch.engines),
        "Load it with `datasets.load_dataset(FOLDER)`.\n",
    ]
    return "\n".join(section for section in sections if section)


def _metadata(rows: int) -> dict[str, Any]:
    size = next((name for limit, name in _SIZES if rows < limit), "1B<n<10B")
    files = [{"split": "train", "path": "data/train-*.parquet"}]
    return {
        "configs": [{"config_name": "default", "data_files": files}],
        "size_categories": [size],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "batchchat"],
    }


def _facts(batch: BatchObject, rows: int) -> dict[str, str]:
    counts, usage = batch.request_counts, batch.usage
    cost = batch.estimated_cost
    computed = counts.completed - batch.reused_requests
    sampling = "in the template below" if _has_template(batch.rows) else "per request"
    return {
        "generator": "batchchat",
        "batch": f"`{batch.id}`, {batch.status}",
        "model": f"`{batch.model}`",
        "rows": f"{rows:,}",
        "requests": f"{counts.total:,} ({counts.completed:,} completed,"
        f" {counts.failed:,} failed)",
        "reused answers": f"{batch.reused_requests:,} ({computed:,} computed)"
        if batch.reused_requests
        else "",
        "seed": f"{batch.seed}; each answer's is in the column `seed`",
        "sampling": sampling,
        "tokens": f"{usage.input_tokens:,} in, {usage.output_tokens:,} out",
        "estimated cost": "" if cost is None else f"{cost:f} US dollars",
        "created at": f"{batch.created_at} (Unix seconds)",
    }


def _has_template(rows: RowOptions | None) -> bool:
    return rows is not None and rows.template is not None


def _prompt(rows: RowOptions | None) -> list[str]:
    """Return how the rows of the input became requests."""
    if rows is None:
        return []
    found = ["## Prompt\n"]
    for name in ("system", "prompt", "prompt_column", "template"):
        value = getattr(rows, name)
        if value is not None:
            text = value if isinstance(value, str) else encode(value).decode()
            found.append(f"{name.replace('_', ' ')}:\n\n{_code(text)}")
    if rows.samples > 1:
        found.append(f"samples of each row: {rows.samples:,}\n")
    return found


def _engines(engines: dict[str, Any]) -> str:
    """Return the engines, by the `system_fingerprint` of their answers."""
    if not engines:
        return ""
    tables = [
        f"### `{name}`\n\n{_table({key: str(it) for key, it in engine.items()})}"
        for name, engine in engines.items()
    ]
    return "\n".join(["## Engines\n", *tables])


def _table(rows: dict[str, str]) -> str:
    lines = ["| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in rows.items() if text]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _code(text: str) -> str:
    """Return a code block, whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}\n"
