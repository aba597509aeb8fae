"""/docs: the API for reading and trying out, with Swagger UI from this server.

The page may load and contact nothing but this server.
"""

from importlib import resources

from fastapi import APIRouter
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>batchchat API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui" data-document="/openapi.json"></div>
<noscript>This page needs JavaScript; without it, read
<a href="/openapi.json">the OpenAPI document</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

# The validator would send the document to another server.
_START = """\
const page = document.getElementById("swagger-ui");
SwaggerUIBundle({
  domNode: page,
  url: page.dataset.document,
  deepLinking: true,
  validatorUrl: null,
});
"""


@router.get("/docs")
def page() -> Response:
    """Return the page."""
    headers = {"content-security-policy": _CONTENT_SECURITY_POLICY}
    return Response(_PAGE, media_type="text/html", headers=headers)


@router.get("/docs/start.js")
def start() -> Response:
    """Return the script that starts Swagger UI."""
    return Response(_START, media_type="text/javascript")


@router.get("/docs/swagger-ui-bundle.js")
def script() -> Response:
    """Return Swagger UI."""
    return _asset("swagger-ui-bundle.js", "text/javascript")


@router.get("/docs/swagger-ui.css")
def style() -> Response:
    """Return its style."""
    return _asset("swagger-ui.css", "text/css")


def _asset(name: str, media_type: str) -> Response:
    content = resources.files("fastapi_swagger.resources").joinpath(name).read_bytes()
    headers = {"cache-control": "public, max-age=3600"}
    return Response(content, media_type=media_type, headers=headers)
