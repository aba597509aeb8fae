"""Read the batches of a server page by page."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from batchchat.cli.backends.batch_view import View
from batchchat.jobs.ledger.batch_filter import BatchFilter

_FIRST_PAGE_SIZE = 21
"""One more than `list` shows, to know whether there are more."""

_MAX_PAGE_SIZE = 100


class BatchList(msgspec.Struct):
    """A page of a list of batches."""

    data: list[msgspec.Raw]
    has_more: bool


def read_list(text: bytes) -> BatchList:
    """Decode a page. Raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=BatchList)


def newest_first(
    read_page: Callable[..., BatchList],
    view: Callable[[bytes], View],
    wanted: BatchFilter,
    after: str | None = None,
) -> Iterator[View]:
    """Yield the wanted batches, newest first; with `after` only older ones.

    `read_page` takes the query parameters of the list, and `view` decodes a batch. An
    older server ignores the filter. The first page is small, as most callers need only
    a few batches.
    """
    selected: dict[str, Any] = {"status": sorted(wanted.statuses)}
    selected |= {f"metadata[{key}]": value for key, value in wanted.metadata.items()}
    page_size, has_more = _FIRST_PAGE_SIZE, True
    while has_more:
        start = {"after": after} if after else {}
        page = read_page(limit=page_size, **selected, **start)
        for text in page.data:
            one = view(bytes(text))
            after = one.batch.id
            if _is_wanted(one, wanted):
                yield one
        has_more = page.has_more and bool(page.data)
        page_size = _MAX_PAGE_SIZE


def _is_wanted(view: View, wanted: BatchFilter) -> bool:
    batch = view.batch
    is_status = wanted.allows_status(batch.status)
    return is_status and wanted.allows_metadata(batch.metadata)
