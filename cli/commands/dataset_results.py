"""`batchchat results --dataset`: write the results as a dataset, and upload it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import count

if TYPE_CHECKING:
    from batchchat.cli.backends.protocol import Backend
    from batchchat.jobs.ledger.batch_object import BatchObject
    from batchchat.jobs.ledger.table_options import TableOptions

Dataset = Annotated[
    Path | None,
    typer.Option(
        "--dataset",
        metavar="FOLDER",
        help="Write the results as a dataset: Parquet files and a dataset card.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace a dataset that is in FOLDER.")
]
Push = Annotated[
    str | None,
    typer.Option(
        "--push",
        metavar="ORG/NAME",
        help="Also upload the dataset to the Hugging Face Hub, as a private one if it"
        " is new; uses HF_TOKEN.",
    ),
]


def check_dataset_options(
    folder: Path | None, *, force: bool, push: str | None, is_alone: bool
) -> None:
    """Raise `UsageError` for options that exclude or need each other."""
    from batchchat.jobs.dataset.folder import check_place
    from batchchat.jobs.dataset.hub import check_repository
    from batchchat.jobs.errors import UsageError

    if folder is None:
        if force or push is not None:
            name = "--force" if force else "--push"
            raise UsageError(
                f"`{name}` requires `--dataset`",
                hint="name the folder of the dataset: `--dataset FOLDER`",
            )
        return
    if not is_alone:
        raise UsageError(
            "`--dataset` can't be combined with `--output`, `--format`, `--errors`,"
            " `--head` or `--follow`",
            hint="leave out one of them",
        )
    check_place(folder.absolute(), force=force)
    if push is not None:
        check_repository(push)


def write_results(
    backend: "Backend",
    batch: "BatchObject",
    folder: Path,
    table: "TableOptions | None",
    *,
    force: bool,
    push: str | None,
) -> int:
    """Write the dataset of an ended batch, and upload it if a repository is named."""
    from batchchat.cli.backends.batch_view import LocalOutput
    from batchchat.jobs.dataset.folder import write_dataset

    view = backend.get(batch.id)
    write_dataset(
        folder.absolute(),
        batch,
        lambda path: backend.export(view, LocalOutput(path, "parquet"), table),
        force=force,
    )
    parts = len(list((folder / "data").iterdir()))
    written = streams.Styled(f"{folder}", "cyan")
    streams.info("wrote ", written, f" ({count(parts, 'Parquet file')}, README.md)")
    if push is None:
        streams.hint(f"add a license to `{folder / 'README.md'}` before you publish it")
        return 0
    from batchchat.jobs.dataset.hub import push as upload

    streams.print_data(upload(folder.absolute(), push, f"Results of {batch.id}"))
    streams.hint("add a license to its card before you make it public")
    return 0
