"""Routes of the library's state, index jobs, health and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import Response, StreamingResponse
from pydantic import ValidationError

from crossgraph import __version__
from crossgraph.library.roots import check_roots
from crossgraph.serve.jobs import Job, events
from crossgraph.serve.metrics import CONTENT_TYPE
from crossgraph.serve.problems import Problem, documented, input_errors_as_problems, unreadable
from crossgraph.serve.requests import IndexRequest
from crossgraph.serve.responses import Health, JobProgress, LibraryState
from crossgraph.serve.service import FILL, CurrentService, Service

router = APIRouter(tags=["library"])
_BODY = {"requestBody": {"content": {"application/json": {"schema": IndexRequest.model_json_schema()}}}}
JobName = Annotated[str, InPath(pattern=r"^[0-9a-f]{1,32}$", description="a job's name")]


@router.get("/api/library", responses=documented())
async def state(request: Request, service: CurrentService) -> LibraryState:
    """Return what the library holds, and whether it is being indexed."""
    return LibraryState.model_validate(await service.light.run(request, service.state))


@router.post("/api/index", status_code=202, responses=documented(404, 409, 415), openapi_extra=_BODY)
async def index(request: Request, service: CurrentService) -> JobProgress:
    """Start to index the library's folders; the job is followed by its name."""
    asked = _read_json(request.headers.get("content-type"), await request.body())
    roots = [Path(root) for root in (asked.roots or ())]
    is_owner = bool(getattr(request.state, "is_owner", False))

    def work() -> Job:
        _check_roots(service, roots, is_owner)
        return service.jobs.begin(roots)

    return JobProgress.model_validate((await service.light.run(request, work)).progress())


@router.get("/api/jobs/{name}", responses=documented(404))
async def job(service: CurrentService, name: JobName) -> JobProgress:
    """Return the progress of an index job."""
    return JobProgress.model_validate(service.jobs.get(name).progress())


@router.get(
    "/api/jobs/{name}/events",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events: a JobProgress each", "content": {"text/event-stream": {}}},
        204: {"description": "Nothing more to come"},
        **documented(404),
    },
)
async def follow(request: Request, service: CurrentService, name: JobName) -> Response:
    """Send an index job's progress as it happens, until it ends."""
    found = service.jobs.get(name)
    if request.headers.get("last-event-id") == "end":
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = events(found, lambda: service.ending)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


@router.get("/health", responses=documented())
async def health(service: CurrentService) -> Health:
    """Return that the server answers."""
    return Health(status="ending" if service.ending else "ok", version=__version__, instance=service.instance)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus' text format", "content": {"text/plain": {}}}, **documented()},
)
async def metrics(service: CurrentService) -> Response:
    """Return the server's metrics."""
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _read_json(media_type: str | None, body: bytes) -> IndexRequest:
    """Read a body; none asks for everything.

    Raises:
        Problem: It is no JSON, or another than is expected.
    """
    if not body:
        return IndexRequest()
    kind = (media_type or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, f"a body of type '{kind[:60]}'", "send application/json", "media-type")
    try:
        return IndexRequest.model_validate_json(body)
    except ValidationError as error:
        raise unreadable(error.errors()) from error


def _check_roots(service: Service, roots: list[Path], is_owner: bool) -> None:
    """Refuse folders that a page must not name, and those that are not there."""
    library = service.library
    if not library.has_model:
        raise Problem(409, "the library is empty and has no model", f"{FILL} --model RUN-or-BUNDLE", "empty")
    known = list(library.manifest.roots().values())
    if not is_owner and any(root not in known for root in roots):
        raise Problem(
            403, "new folders are not added over HTTP", "add it at the keyboard: crossgraph index FOLDER", "roots"
        )
    if not roots and not known:
        raise Problem(409, "the library has no folder of pictures yet", FILL, "empty")
    with input_errors_as_problems(404):
        check_roots(roots)
