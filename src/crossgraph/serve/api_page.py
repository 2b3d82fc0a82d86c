"""The API as one page of HTML, written from its OpenAPI description, without scripts."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; border-top: 1px solid #8886; padding-top: 1rem; }
code { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; }
.method { display: inline-block; min-width: 3.5rem; font-weight: 600; }
"""

_PROGRAMS = """<p>The same for programs: <a href="/openapi.json">openapi.json</a>. Errors are problem documents
(<code>application/problem+json</code>) with <code>title</code>, <code>status</code>, <code>detail</code> and
<code>remedy</code>.</p>"""


def api_page(document: dict[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width"><title>crossgraph: the API</title>',
        '<link rel="stylesheet" href="/api/docs/style.css"><main><h1>crossgraph: the API</h1>',
        f"<p>{escape(document['info'].get('description', ''))}</p>",
        _PROGRAMS,
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation, document))
    return "\n".join([*parts, "</main></html>"])


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    rows = [(one["name"], one["schema"], one.get("required", False)) for one in operation.get("parameters", [])]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(content["schema"], document)
        required = schema.get("required", [])
        rows += [(f"{name} ({kind})", value, name in required) for name, value in schema.get("properties", {}).items()]
    cells = "".join(
        f"<tr><th scope=row><code>{escape(name)}</code>{' *' if required else ''}<td>{escape(_kind(schema))}"
        f"<td>{escape(schema.get('description', ''))}"
        for name, schema, required in rows
    )
    return f"<h2><span class=method>{method.upper()}</span> <code>{escape(path)}</code></h2><p>{escape(text)}</p>" + (
        f"<table>{cells}</table>" if cells else ""
    )


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    for choice in [schema, *schema.get("anyOf", [])]:
        if "$ref" in choice:
            return document["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
    return schema


def _kind(schema: dict[str, Any]) -> str:
    """Describe the type and range of a parameter in words."""
    known = next((one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"), schema)
    name = {"array": "several", "string": "text", "integer": "whole number", "boolean": "true or false"}
    kind = str(known.get("type", ""))
    said = name.get(kind, kind)
    low = known.get("minimum", known.get("exclusiveMinimum"))
    high = known.get("maximum", known.get("exclusiveMaximum"))
    if high is not None and high < 1e15:
        said += f", {'' if low is None else f'{low:,.10g}'}–{high:,.10g}"
    if schema.get("default") not in (None, "", []):
        said += f"; {schema['default']} by default"
    return said
