"""Searching and explaining."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from crossgraph.serve.answers import Answer, Captions, Explanation, Identifier
from crossgraph.serve.asking import CaptionForm, Explain, Like, Search, SearchForm, SearchParameters, Wish
from crossgraph.serve.captions import rank_captions
from crossgraph.serve.pictures import find
from crossgraph.serve.problems import Problem, documented, unreadable
from crossgraph.serve.searching import answer, explanation
from crossgraph.serve.service import Service

router = APIRouter(tags=["search"])
F = TypeVar("F", bound=BaseModel)
_FIELD_BYTES = 256 * 1024
_PICTURE = {"type": "string", "format": "binary", "minLength": 1, "description": "a picture file"}


def _form_schema(model: type[BaseModel], **more: Any) -> dict[str, Any]:
    """Describe a form that brings a picture, for OpenAPI."""
    schema = model.model_json_schema()
    schema["properties"] = {"picture": _PICTURE, **schema["properties"]}
    schema["additionalProperties"] = False
    encoding = {"picture": {"contentType": "image/png, image/jpeg"}}
    content = {"multipart/form-data": {"schema": schema | more, "encoding": encoding}}
    return {"requestBody": {"required": True, "content": content}}


@router.get("/api/search", responses=documented(404, 409))
async def search(request: Request, asked: Search) -> Answer:
    """Find pictures by words, by pictures of the library, or by a picture that was uploaded before."""
    service: Service = request.app.state.service
    wish = Wish(asked, asked.q)
    picture = service.uploads.get(asked.picture) if asked.picture else None
    name = asked.picture or None
    return Answer.model_validate(await service.heavy.run(request, lambda: answer(service, wish, picture, name)))


@router.post(
    "/api/search",
    responses=documented(400, 404, 408, 409, 415),
    openapi_extra=_form_schema(SearchForm, required=["picture"]),
)
async def search_by_picture(request: Request) -> Answer:
    """Find pictures like one that is sent along, with words or without.

    The answer names the picture, so that further pages need not send it again.
    """
    service: Service = request.app.state.service
    form, data = await _read_form(request)
    asked = _validated(SearchForm, form)
    wish = Wish(asked, asked.q)
    if data is None:
        raise Problem(422, "picture: is missing", "send one, or ask by GET /api/search", "picture")

    def work() -> dict[str, Any]:
        regions = service.regions(data)
        return answer(service, wish, regions, service.uploads.keep(regions))

    return Answer.model_validate(await service.heavy.run(request, work))


@router.get("/api/pictures/{number}/like", responses=documented(404, 410))
async def more_like(request: Request, number: Identifier, asked: Like) -> Answer:
    """Find pictures that look like one of the library."""
    service: Service = request.app.state.service
    wish = Wish(SearchParameters(like=[number], k=asked.k, offset=asked.offset))

    def work() -> dict[str, Any]:
        find(service.library, number)
        return answer(service, wish)

    return Answer.model_validate(await service.heavy.run(request, work))


@router.get("/api/explain", responses=documented(404))
async def explain(request: Request, asked: Explain) -> Explanation:
    """Tell which word met which region of some pictures."""
    service: Service = request.app.state.service
    ids = [int(number) for number in asked.ids.split(",")]
    return Explanation.model_validate(await service.heavy.run(request, lambda: explanation(service, ids, asked.q)))


@router.post(
    "/api/captions",
    responses=documented(400, 404, 408, 409, 415),
    openapi_extra=_form_schema(CaptionForm, anyOf=[{"required": ["id"]}, {"required": ["picture"]}]),
)
async def captions(request: Request) -> Captions:
    """Rank sentences for a picture: those given, or the captions of the library."""
    service: Service = request.app.state.service
    form, data = await _read_form(request)
    asked = _validated(CaptionForm, form)
    if asked.id is None and data is None:
        raise Problem(422, "neither id nor picture is given", "send one of them", "picture")
    work: Callable[[], dict[str, Any]] = lambda: rank_captions(service, asked, data)  # noqa: E731
    return Captions.model_validate(await service.heavy.run(request, work))


async def _read_form(request: Request) -> tuple[FormData, bytes | None]:
    """Read a form and the picture in it, if any.

    Raises:
        Problem: It is no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise Problem(415, f"a body of type '{kind[:60]}'", "send multipart/form-data", "media-type")
    form = await request.form(max_files=1, max_fields=4000, max_part_size=_FIELD_BYTES)
    sent = form.get("picture")
    if not isinstance(sent, UploadFile):
        return form, None
    data = await sent.read()
    await sent.close()
    return form, data if data or sent.filename else None


def _validated(model: type[F], form: FormData) -> F:
    """Read a form's fields by a model; a field that is left empty counts as not given.

    Raises:
        Problem: They do not fit.
    """
    values: dict[str, Any] = {}
    for name in dict.fromkeys(form):
        given = [value for value in form.getlist(name) if isinstance(value, str)]
        if name == "picture" or not given:
            continue
        field = model.model_fields.get(name)
        is_list = field is not None and str(field.annotation).startswith("list")
        if is_list:
            values[name] = given
        elif given[-1] != "" or name in ("q", "where"):
            values[name] = given[-1]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise unreadable(error.errors()) from error
