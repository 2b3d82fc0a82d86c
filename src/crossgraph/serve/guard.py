"""Check who may send requests: by the name of this machine, the origin of the page, and the token.

Three doors, all of them also on loopback. **Host**: a request must call this machine by an address or a name of its
own, so a name that an attacker points here by DNS (rebinding) is refused. **Origin**: another site's page in the
same browser is refused, by the headers `Origin` and `Sec-Fetch-Site` that browsers set and pages cannot. **Token**:
where one is set, everything but the page's own files and `/health` needs it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossgraph.serve.problems import Problem
from crossgraph.serve.settings import ServeSettings

COOKIE = "crossgraph"
_OPEN = ("/", "/health", "/index.html", "/favicon.ico")


class Guard:
    """Refuses untrusted requests; notes in the scope whether the owner's token was shown.

    Args:
        app: The inner application.
        settings: Host, names and token.
        owner: A second token that is always known: the one that only this user's own commands can read.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, owner: str) -> None:
        self._app = app
        self._settings = settings
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a trusted request on; answer any other with a problem document."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(scope, headers)
            shown, in_address = self._read_tokens(scope, headers)
            self._check_token(scope, shown)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        scope.setdefault("state", {})["is_owner"] = _is_any(shown, [self._owner])
        if in_address and self._is_token(in_address):
            cookie = _cookie(in_address)
            if scope["path"] == "/":
                query = scope["query_string"].decode("ascii", "replace")
                target = RedirectResponse(f"/?{query}" if query else "/", 303, {"Set-Cookie": cookie})
                await target(scope, receive, send)
                return
            send = _with_cookie(send, cookie)
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else ""
        if not name or not self._settings.knows_host(name):
            raise Problem(
                403,
                f"this server is not called '{name[:80]}'" if name else "the request has no usable Host header",
                "use the address that the server printed, or start it with --name for a further name",
                "host",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        is_visit = (
            scope["method"] == "GET"
            and scope["path"] in _OPEN
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest", "document") == "document"
        )
        is_own = origin is None or _is_same(origin, headers.get("host", ""))
        if is_own and (site in ("same-origin", "none") or is_visit):
            return
        raise Problem(403, "the request comes from another site's page", "open the server's own page", "origin")

    def _read_tokens(self, scope: Scope, headers: Headers) -> tuple[list[str], str]:
        """Return the tokens of a request, and the one in its address, which is removed from there."""
        shown: list[str] = []
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            shown.append(value.strip())
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        in_address = next((value for name, value in pairs if name == "token"), "")
        if any(name == "token" for name, _ in pairs):
            others = [(name, value) for name, value in pairs if name != "token"]
            scope["query_string"] = urlencode(others).encode("ascii")
            shown.append(in_address)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        if cookie is not None:
            shown.append(cookie.value)
        return shown, in_address

    def _check_token(self, scope: Scope, shown: list[str]) -> None:
        if not self._settings.token or scope["path"] in _OPEN or scope["path"].startswith("/assets/"):
            return
        if not _is_any(shown, [self._settings.token, self._owner]):
            raise Problem(
                401,
                "the token is missing" if not any(shown) else "the token is not the right one",
                "open the address that the server printed when it started: it ends in ?token=…",
                "token",
                {"WWW-Authenticate": 'Bearer realm="crossgraph"'},
            )

    def _is_token(self, shown: str) -> bool:
        return bool(self._settings.token) and _is_any([shown], [self._settings.token])


class Shield:
    """Adds security headers to every response.

    Args:
        app: The inner application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with headers."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)


SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def _is_any(shown: Iterable[str], tokens: Iterable[str]) -> bool:
    """Return whether a shown token is known; the time does not reveal where two differ."""
    known = [token.encode() for token in tokens]
    found = [hmac.compare_digest(given.encode("utf-8", "replace"), token) for given in shown for token in known]
    return any(found)


def _cookie(token: str) -> str:
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"


def _with_cookie(send: Send, cookie: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("Set-Cookie", cookie)
        await send(message)

    return sending


def _host_name(host: str) -> str:
    """Return a Host header's name without its port, or nothing where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    clean = parts.hostname or ""
    return clean if not (parts.path or parts.query or parts.fragment or parts.username) else ""


def _is_same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()
