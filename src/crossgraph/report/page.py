"""Renders pages: template, style, script and data in one file that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from importlib import resources
from typing import Any

from crossgraph.core.errors import InputError

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
)


def check_templates(page: str = "the report") -> None:
    """Check that the package that fills templates is installed.

    Args:
        page: What needs it.

    Raises:
        InputError: It is not.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise InputError(f"{page} needs the package jinja2", "pip install 'crossgraph[explain]'")


def render(values: dict[str, Any], data: dict[str, Any], package: str = "crossgraph.report") -> str:
    """Return a page.

    Args:
        values: What the template names.
        data: What the script reads: plain values.
        package: Has the page's parts: page.html, page.css, page.js.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (resources.files(package).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    page = environment.get_template("page.html").render(
        **values,
        policy=_POLICY.format(digest=digest),
        style=Markup(style),
        script=Markup(script),
        data=Markup(json_for_script(data)),
    )
    return page.lstrip().encode("utf-8", "replace").decode("utf-8")  # a lone surrogate in a caption


def json_for_script(value: Any) -> str:
    """Return JSON that can stand inside a script element whatever its strings hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
