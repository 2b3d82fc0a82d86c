"""Problem documents (RFC 9457): what went wrong and what to do, for people and programs."""

from __future__ import annotations

import contextlib
import http
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from crossgraph.core.errors import InputError
from crossgraph.store.filter_parser import FilterError
from crossgraph.store.folder import OwnedError

MEDIA_TYPE = "application/problem+json"
CLIENT_GONE = 499
_REMEDIES = {
    404: "see /api/docs for what there is",
    405: "see /api/docs for the methods of each path",
    413: "send less",
    415: "send multipart/form-data, or application/json where /api/docs says so",
}


class ProblemDocument(BaseModel):
    """A problem, as it is sent."""

    type: str = Field(description="a name of the kind of problem, for programs")
    title: str
    status: int
    detail: str
    remedy: str = Field(description="what to do about it")
    position: int | None = Field(default=None, description="the character at fault in a filter, counted from 0")
    length: int | None = Field(default=None, description="how many characters are at fault")
    errors: list[dict[str, str]] | None = Field(default=None, description="what is wrong with which parameter")


class Problem(HTTPException):
    """An error response; may be raised anywhere, also while a body arrives.

    Args:
        status: HTTP's.
        detail: What is wrong.
        remedy: What to do about it.
        kind: Names the kind of problem for programs; by default the status's phrase.
        headers: To send along.
        extra: Further members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str = "",
        kind: str = "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.remedy = remedy
        self.kind = kind
        self.extra = dict(extra or {})

    def response(self) -> Response:
        """Return it as it is sent."""
        status = self.status_code
        title = phrase(status)
        document = {
            "type": f"urn:crossgraph:{self.kind or title.lower().replace(' ', '-')}",
            "title": title,
            "status": status,
            "detail": " ".join(self.detail.split()),
            "remedy": " ".join(self.remedy.split()),
            **self.extra,
        }
        return JSONResponse(document, status, self.headers, MEDIA_TYPE)


def phrase(status: int) -> str:
    """Return a status in words."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Client closed the request" if status == CLIENT_GONE else f"Status {status}"


def problem_of(error: InputError, status: int = 422) -> Problem:
    """Return the problem document of an `InputError`; that of a filter names the character at fault."""
    if isinstance(error, FilterError):
        where = {"position": error.position, "length": error.length}
        return Problem(422, error.what, error.remedy, "filter", extra=where)
    if isinstance(error, OwnedError):
        return Problem(503, error.problem, error.remedy, "store-owned", {"Retry-After": "5"})
    headers = {"Retry-After": "5"} if status == 503 else {}
    return Problem(status, error.problem, error.remedy, headers=headers)


@contextlib.contextmanager
def input_errors_as_problems(status: int = 422) -> Iterator[None]:
    """Raise an `InputError` of the block as a `Problem` of this status."""
    try:
        yield
    except InputError as error:
        raise problem_of(error, status) from error


def internal() -> Problem:
    """Return the problem document of a defect of ours."""
    return Problem(500, "the server failed at this request", "its terminal says why; please report it")


def unreadable(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Return the problem document of validation errors."""
    found = [{"where": _parameter(error.get("loc", ())), "message": _message(error)} for error in errors]
    first = found[0] if found else {"where": "", "message": "it does not fit"}
    detail = f"{first['where']}: {first['message']}" if first["where"] else first["message"]
    remedy = "see /api/docs for what is expected"
    if first["where"] == "q" and errors[0].get("type") == "value_error":  # what a person typed: too many words
        detail, remedy = first["message"], "say it in fewer words"
    return Problem(422, detail, remedy, "parameters", extra={"errors": found})


def handle_problems(app: FastAPI) -> None:
    """Make an application answer every error by a problem document."""

    async def handle(request: Request, error: Exception) -> Response:
        return _as_problem(request, error).response()

    for kind in (InputError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)


def _as_problem(request: Request, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, InputError):
        return problem_of(error)
    if isinstance(error, RequestValidationError):
        return unreadable(error.errors())
    assert isinstance(error, HTTPException)
    status, detail, headers = error.status_code, str(error.detail), dict(error.headers or {})
    if detail == phrase(status):
        detail = f"{request.method} {request.url.path[:200]}: {detail.lower()}"
    if status == 405:
        headers["Allow"] = ", ".join(_methods(request))
    return Problem(status, detail, _REMEDIES.get(status, ""), "", headers)


def _methods(request: Request) -> list[str]:
    """Return the methods that a path takes, over all of its routes."""
    found: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that an operation may answer with, for OpenAPI."""
    always = (401, 403, 405, 413, 414, 422, 429, 500, 503)
    return {
        status: {
            "description": phrase(status),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in sorted({*always, *statuses})
    }


def _message(error: Mapping[str, Any]) -> str:
    if error.get("type") == "extra_forbidden":
        return "there is no such parameter"
    return str(error.get("msg", "")).removeprefix("Value error, ")


def _parameter(location: Sequence[object]) -> str:
    parts = [str(part) for part in location]
    return ".".join(parts[1:] if parts and parts[0] in ("query", "body", "path", "header", "form") else parts)
