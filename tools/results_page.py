"""Write the table of `docs/results.md` from the columns of results (`make docs`)."""

import re
from pathlib import Path

from batchchat.jobs.rows.result_columns import COLUMNS, ROW_COLUMNS, Column

PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def page() -> str:
    """Return the page with an up-to-date table."""
    rows = [
        ("column", "type", "batches", "content"),
        ("---", "---", "---", "---"),
        *(_row(column, "of rows") for column in ROW_COLUMNS),
        *(_row(column, "all") for column in COLUMNS),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    part = f"<!-- columns -->\n{table}\n<!-- end -->"
    text = PAGE.read_text("utf-8")
    return re.sub("<!-- columns -->.*?<!-- end -->", part, text, flags=re.DOTALL)


def _row(column: Column, batches: str) -> tuple[str, ...]:
    return f"`{column.name}`", column.type, batches, column.meaning


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
