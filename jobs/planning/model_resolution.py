"""Resolves the model of a batch when it is created."""

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.errors import ModelNotFoundError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.requests.named_model import named_model
from batchchat.jobs.rows.row_options import RowOptions

_READ_BYTES = 1024 * 1024
"""Bytes of the input that are searched for the name of a model."""


def resolve_model(
    ledger: Ledger,
    input_file: File,
    catalog: Catalog,
    name: str | None,
    rows: RowOptions | None = None,
) -> Model | None:
    """Return the model that `name`, or else the beginning of the input, refers to.

    If the input holds `rows`, their template may name the model.

    The input is untrusted: a name in it must be in the catalog, and refers to no folder
    and no hub id. Return None if the planner has to find the model, or the problem.

    Raises:
        ModelNotFoundError: `name` is given, and `catalog` does not find it.

    """
    if name is not None:
        return catalog.find(name)
    if not input_file.bytes:
        return None
    if rows is not None:
        found = rows.model
    else:
        content = ledger.keys.content(input_file.id)
        found = named_model(ledger.storage.read(content, 0, _READ_BYTES))
    try:
        return catalog.restricted().find(found) if found else None
    except ModelNotFoundError:
        return None
