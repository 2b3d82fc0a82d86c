"""Routes of searches, explanations and captions."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from crossgraph.serve.captions import rank_captions
from crossgraph.serve.pictures import find_picture
from crossgraph.serve.problems import Problem, documented, unreadable
from crossgraph.serve.requests import CaptionForm, Explain, Like, Search, SearchForm, SearchParameters, SearchRequest
from crossgraph.serve.responses import Answer, Captions, Explanation, Identifier
from crossgraph.serve.search_responses import answer, explanation
from crossgraph.serve.service import CurrentService

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
async def search(request: Request, service: CurrentService, parameters: Search) -> Answer:
    """Find pictures by words, by pictures of the library, or by a picture that was uploaded before."""
    parsed = SearchRequest(parameters, parameters.q)
    name = parameters.picture or None
    picture = service.uploads.get(name) if name else None
    return Answer.model_validate(await service.heavy.run(request, lambda: answer(service, parsed, picture, name)))


@router.post(
    "/api/search",
    responses=documented(400, 404, 408, 409, 415),
    openapi_extra=_form_schema(SearchForm, required=["picture"]),
)
async def search_by_picture(request: Request, service: CurrentService) -> Answer:
    """Find pictures like one that is sent along, with words or without.

    The answer names the picture, so that further pages need not send it again.
    """
    form, data = await _read_form(request)
    parameters = _validated(SearchForm, form)
    parsed = SearchRequest(parameters, parameters.q)
    if data is None:
        raise Problem(422, "picture: is missing", "send one, or ask by GET /api/search", "picture")

    def work() -> dict[str, Any]:
        regions = service.regions(data)
        return answer(service, parsed, regions, service.uploads.add(regions))

    return Answer.model_validate(await service.heavy.run(request, work))


@router.get("/api/pictures/{number}/like", responses=documented(404, 410))
async def more_like(request: Request, service: CurrentService, number: Identifier, parameters: Like) -> Answer:
    """Find pictures that look like one of the library."""
    parsed = SearchRequest(SearchParameters(like=[number], k=parameters.k, offset=parameters.offset))

    def work() -> dict[str, Any]:
        find_picture(service.library, number)
        return answer(service, parsed)

    return Answer.model_validate(await service.heavy.run(request, work))


@router.get("/api/explain", responses=documented(404))
async def explain(request: Request, service: CurrentService, parameters: Explain) -> Explanation:
    """Return which word met which region of some pictures."""
    ids = [int(number) for number in parameters.ids.split(",")]
    found = await service.heavy.run(request, lambda: explanation(service, ids, parameters.q))
    return Explanation.model_validate(found)


@router.post(
    "/api/captions",
    responses=documented(400, 404, 408, 409, 415),
    openapi_extra=_form_schema(CaptionForm, anyOf=[{"required": ["id"]}, {"required": ["picture"]}]),
)
async def captions(request: Request, service: CurrentService) -> Captions:
    """Rank sentences for a picture: those given, or the captions of the library."""
    form, data = await _read_form(request)
    parameters = _validated(CaptionForm, form)
    if parameters.id is None and data is None:
        raise Problem(422, "neither id nor picture is given", "send one of them", "picture")
    return Captions.model_validate(await service.heavy.run(request, lambda: rank_captions(service, parameters, data)))


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
