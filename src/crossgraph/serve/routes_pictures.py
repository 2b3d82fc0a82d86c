"""Routes of pictures by id: metadata, files, thumbnails. Paths are never taken from a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from crossgraph.library.roots import existing_first
from crossgraph.serve.pictures import PictureFile, find_picture, image, thumbnail
from crossgraph.serve.problems import documented
from crossgraph.serve.responses import Details, Identifier
from crossgraph.serve.search_responses import thumbnail_of
from crossgraph.serve.service import CurrentService

router = APIRouter(tags=["pictures"])
Version = Annotated[str, Query(max_length=64, description="makes the address change with the content")]
_FOR_EVER, _CHECKED = "private, max-age=31536000, immutable", "private, no-cache"
_BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.get("/api/pictures/{number}", responses=documented(404, 410))
async def details(request: Request, service: CurrentService, number: Identifier) -> Details:
    """Return the metadata of a picture."""

    def work() -> Details:
        picture = find_picture(service.library, number)
        paths = existing_first(picture.paths)[0]
        return Details.model_validate(
            vars(picture)
            | {
                "name": paths[0].name,
                "path": str(paths[0]),
                "paths": list(map(str, paths)),
                "thumbnail": thumbnail_of(picture.id, picture.sha256),
                "image": f"/api/pictures/{picture.id}/image",
            }
        )

    return await service.light.run(request, work)


@router.get(
    "/api/pictures/{number}/thumbnail",
    response_class=Response,
    responses={
        200: {"description": "A small WebP picture", "content": {"image/webp": _BINARY}},
        304: {"description": "Unchanged"},
        **documented(404, 410),
    },
)
async def small(request: Request, service: CurrentService, number: Identifier, v: Version = "") -> Response:
    """Send a thumbnail."""

    def work() -> Response:
        picture = find_picture(service.library, number)
        is_named = bool(v) and picture.sha256.startswith(v) and len(v) >= 16
        headers = {"ETag": f'"{picture.sha256}-small"', "Cache-Control": _FOR_EVER if is_named else _CHECKED}
        if _has(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        data = thumbnail(service.library, picture, service.settings.max_megapixels)
        return Response(data, headers=headers, media_type="image/webp")

    return await service.light.run(request, work)


@router.get(
    "/api/pictures/{number}/image",
    response_class=Response,
    responses={
        200: {
            "description": "The picture, upright, in a form that browsers show",
            "content": dict.fromkeys(("image/jpeg", "image/png", "image/webp", "image/gif"), _BINARY),
        },
        304: {"description": "Unchanged"},
        **documented(404, 410),
    },
)
async def whole(request: Request, service: CurrentService, number: Identifier) -> Response:
    """Send a picture; 410 where no file of the content that was indexed is left."""

    def work() -> Response:
        picture = find_picture(service.library, number)
        found: PictureFile = image(picture, service.settings.max_megapixels)
        headers = {"ETag": f'"{picture.sha256}"', "Cache-Control": _CHECKED, "Content-Disposition": "inline"}
        if _has(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(found.data, headers=headers, media_type=found.media_type)

    return await service.light.run(request, work)


def _has(request: Request, tag: str) -> bool:
    """Return whether the client has this content already."""
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in known or "*" in known
