"""What to do with a file of rows where requests are expected."""

from collections.abc import Sequence

_PROMPT_COLUMNS = (
    "messages",
    "prompt",
    "question",
    "instruction",
    "query",
    "input",
    "text",
)
"""Columns that usually hold what is asked, the most likely one first."""


def row_hint(columns: Sequence[str] = ()) -> str:
    """Return how requests are made of rows with these columns."""
    column = next((one for one in _PROMPT_COLUMNS if one in columns), "COLUMN")
    option = f"--prompt '{{{{ {column} }}}}'"
    if column == "messages":
        option = "--prompt-column messages"
    return (
        f"make a request of each row: `{option}`, or `--template FILE`; over the API,"
        " `rows`"
    )
