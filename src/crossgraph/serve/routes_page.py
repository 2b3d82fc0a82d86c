"""Routes of the page's files and of the list of the API; nothing comes from another machine."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from crossgraph.serve.api_page import STYLE, api_page
from crossgraph.serve.problems import Problem

router = APIRouter(include_in_schema=False)
PAGE = Path(__file__).parent / "page"
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>crossgraph</title>
<link rel="stylesheet" href="/api/docs/style.css">
<main><h1>crossgraph</h1><p>The server runs, but this installation has no page: its built files are missing.</p>
<p>Build it with <code>cd web && npm ci && npm run build</code>, or use the <a href="/api/docs">API</a>.</p>
</main></html>
"""


@router.get("/")
@router.get("/index.html")
async def page(request: Request) -> Response:
    """Send the page."""
    if not (PAGE / "index.html").is_file():
        return HTMLResponse(_MISSING)
    return _file(request, PAGE / "index.html")


@router.get("/assets/{name:path}")
@router.get("/favicon.ico")
async def asset(request: Request, name: str = "favicon.ico") -> Response:
    """Send one of the page's files, known by name: nothing else in the folder tree can be asked for."""
    below = "assets/" if request.url.path.startswith("/assets/") else ""
    known = {path.relative_to(PAGE).as_posix(): path for path in PAGE.rglob("*") if path.is_file()}
    if below + name not in known:
        raise Problem(404, f"{request.url.path[:200]}: not found", "reload the page", "page")
    return _file(request, known[below + name])


@router.get("/api/docs")
async def api(request: Request) -> Response:
    """List what the server answers."""
    return HTMLResponse(api_page(request.app.openapi()))


@router.get("/api/docs/style.css")
async def style() -> Response:
    """Send the list's style."""
    return Response(STYLE, media_type="text/css")


def _file(request: Request, path: Path) -> Response:
    data = path.read_bytes()
    headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    kind = {".js": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}
    media_type = kind.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(data, headers=headers, media_type=media_type)
