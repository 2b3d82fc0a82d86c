"""Build the application: routes and the middleware around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from crossgraph import __version__
from crossgraph.serve import routes_library, routes_page, routes_pictures, routes_search
from crossgraph.serve.compression import Compression
from crossgraph.serve.guard import Guard, Shield
from crossgraph.serve.limits import Limits
from crossgraph.serve.metrics import MetricsMiddleware
from crossgraph.serve.problems import ProblemDocument, handle_problems
from crossgraph.serve.service import Service

_ABOUT = "Search a library of your own pictures by words, by pictures or both, and see why each one matched."


def create_app(service: Service) -> FastAPI:
    """Return the application of a service.

    Args:
        service: Open. It is announced when the application starts and closed when it ends.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.announce()
        service.warm_up()
        yield
        service.close()

    app = FastAPI(
        title="crossgraph",
        description=_ABOUT,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    routers = [module.router for module in (routes_search, routes_pictures, routes_library, routes_page)]
    app.state.routes = [route for router in routers for route in router.routes]
    for router in routers:
        app.include_router(router)
    handle_problems(app)
    settings = service.settings
    app.add_middleware(Limits, most=settings.body_bytes, timeout=settings.timeout)
    app.add_middleware(Compression)
    app.add_middleware(Guard, settings=settings, owner=service.owner_token)
    app.add_middleware(MetricsMiddleware, metrics=service.metrics)
    app.add_middleware(Shield)  # the last one added is the outermost
    app.openapi = lambda: _openapi(app, bool(settings.token))
    return app


def _openapi(app: FastAPI, needs_token: bool) -> dict[str, Any]:
    """Return the OpenAPI description, with problem documents and, where one is needed, the token."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            openapi_version="3.1.0",
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for parameter in document["paths"]["/api/search"]["get"]["parameters"]:
            parameter["required"] |= parameter["name"] == "q"  # only `like` or `picture` can stand for it
        if needs_token:
            document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    operation["security"] = [] if path == "/health" else [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema
