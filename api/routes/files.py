"""/v1/files."""

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from batchchat.api.http.auth import Context, ProjectLedger
from batchchat.api.http.byte_ranges import content_response
from batchchat.api.http.filenames import content_disposition
from batchchat.api.http.json_response import JsonResponse
from batchchat.api.http.paging import AfterId, list_object
from batchchat.api.http.schemas import DeletedFile, FileList, FileObject, errors
from batchchat.api.routes.project_limits import check_stored_bytes, keep_within_limit
from batchchat.api.routes.upload import PURPOSES, receive_file
from batchchat.jobs.files.files import Files
from batchchat.jobs.ids import checked_id
from batchchat.jobs.ledger.records import File

router = APIRouter(prefix="/v1/files", tags=["files"])

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "dependentRequired": {
                        "expires_after[anchor]": ["expires_after[seconds]"],
                        "expires_after[seconds]": ["expires_after[anchor]"],
                    },
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {
                            "type": "string",
                            "enum": list(PURPOSES),
                            "description": "Batches require `batch`.",
                        },
                        "expires_after[anchor]": {
                            "type": "string",
                            "enum": ["created_at"],
                        },
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": 3600,
                            "maximum": 2592000,
                            "description": "Delete the file after this many seconds;"
                            " by default it is kept.",
                        },
                    },
                }
            }
        },
    }
}
_MAX_FORM_BYTES = 64 * 1024
"""Bytes of an upload that may belong to the form, and not to the file."""

_BYTES: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string"}}}


@router.post(
    "",
    openapi_extra=_FORM,
    responses={200: {"model": FileObject}, **errors(408, 413, 415)},
)
async def upload_file(
    request: Request, ledger: ProjectLedger, context: Context
) -> Response:
    """Upload a file.

    The file exists once the upload is complete; an interrupted upload leaves nothing.
    """
    declared = request.headers.get("content-length", "")
    more = max(1, int(declared) - _MAX_FORM_BYTES) if declared.isdigit() else 1
    await to_thread.run_sync(check_stored_bytes, context, ledger, more)
    file = await receive_file(request, ledger, context.settings)
    await to_thread.run_sync(keep_within_limit, context, ledger, file)
    return JsonResponse(file_object(file))


@router.get("", responses={200: {"model": FileList}, **errors(404)})
def list_files(
    ledger: ProjectLedger,
    after: AfterId = None,
    limit: Annotated[
        int, Query(ge=1, le=10_000, description="Maximum number of files to return.")
    ] = 10_000,
    order: Annotated[
        Literal["asc", "desc"], Query(description="Sort order by creation time.")
    ] = "desc",
    purpose: Annotated[
        str | None, Query(description="Return only files with this purpose.")
    ] = None,
) -> Response:
    """List files, by default the newest first."""
    after = checked_id("file", after) if after is not None else None
    newest_first = order == "desc"
    files, has_more = Files(ledger).page(
        after=after, limit=limit, newest_first=newest_first, purpose=purpose
    )
    data = [file_object(file) for file in files]
    return list_object(data, [file.id for file in files], has_more=has_more)


@router.get("/{file_id}", responses={200: {"model": FileObject}, **errors(404)})
def retrieve_file(file_id: str, ledger: ProjectLedger) -> Response:
    """Retrieve a file's metadata."""
    return JsonResponse(file_object(Files(ledger).get(file_id)))


@router.delete(
    "/{file_id}", responses={200: {"model": DeletedFile}, **errors(404, 409)}
)
def delete_file(file_id: str, ledger: ProjectLedger) -> Response:
    """Delete a file.

    The input file of an unfinished batch cannot be deleted (409).
    """
    Files(ledger).delete(file_id)
    return JsonResponse({"id": file_id, "object": "file", "deleted": True})


@router.head("/{file_id}/content", include_in_schema=False)
@router.get(
    "/{file_id}/content",
    response_class=Response,
    responses={
        200: {"content": _BYTES, "description": "The content of the file."},
        206: {"content": _BYTES, "description": "The requested byte range."},
        304: {"description": "The content matches `If-None-Match`."},
        **errors(404, 416),
    },
)
def download_file(
    file_id: str,
    request: Request,
    ledger: ProjectLedger,
    range_: Annotated[
        str | None,
        Header(alias="range", description="A byte range, e.g. `bytes=0-99`."),
    ] = None,
) -> Response:
    """Download a file or a byte range of it."""
    file = Files(ledger).get(file_id)
    tag, is_head = f'"{file.id}"', request.method == "HEAD"
    known_tags = request.headers.get("if-none-match", "")
    if tag in known_tags or known_tags.strip() == "*":
        return Response(status_code=304, headers={"etag": tag})
    if is_head or request.headers.get("if-range", tag) != tag:
        range_ = None
    headers = {
        "content-disposition": content_disposition(file.filename),
        "etag": tag,
        "x-content-type-options": "nosniff",
    }
    key = ledger.keys.content(file_id)
    response = content_response(ledger.storage, key, file.bytes, range_, headers)
    return Response(headers=response.headers) if is_head else response


def file_object(file: File) -> dict[str, Any]:
    """Return OpenAI's File object."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }
