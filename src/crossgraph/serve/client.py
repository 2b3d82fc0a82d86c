"""Client of a running server, for commands while it has the library open; uses the standard library alone."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossgraph.core.errors import InputError
from crossgraph.serve.announcement import FILE, folder_identity

Values = Mapping[str, object] | Sequence[tuple[str, object]]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # straight to this machine, never by a proxy


@dataclass(frozen=True)
class Running:
    """A server that has a library open.

    Attributes:
        address: As "http://127.0.0.1:8000".
        token: What it knows this user's commands by.
        pid: Its process.
    """

    address: str
    token: str
    pid: int


class RefusedError(InputError):
    """A server's problem document, as the line for the keyboard.

    Args:
        problem: Its detail.
        remedy: Its remedy.
        status: HTTP's; 0 where nobody answered.
    """

    def __init__(self, problem: str, remedy: str = "", status: int = 0) -> None:
        super().__init__(problem, remedy)
        self.status = status

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, int]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Survive the trip between processes."""
        return type(self), (self.problem, self.remedy, self.status)


def find_server(folder: Path) -> Running | None:
    """Return the server that has a library open; None where there is none.

    A `server.json` that was written for another folder, or whose process or server is another one by now, counts for
    nothing: the library may be a copy, or restored from a backup. Until the server has proved to be the one that
    wrote the file, nothing but `/health` is asked and no token is sent.

    Args:
        folder: The library.
    """
    try:
        note = json.loads((folder / FILE).read_text(encoding="utf-8"))
        running, instance = Running(str(note["address"]), str(note["token"]), int(note["pid"])), str(note["instance"])
        if note["folder"] != folder_identity(folder):
            return None
        os.kill(running.pid, 0)
    except PermissionError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        health = ask(running.address, "/health", timeout=2.0)
    except InputError:
        return None
    return running if isinstance(health, dict) and health.get("instance") == instance else None


def ask(address: str, path: str, values: Values = (), token: str = "", timeout: float = 60.0) -> Any:
    """GET an answer.

    Args:
        address: The server's.
        path: As "/api/search".
        values: Parameters; a list gives one several times, None leaves it out.
        token: The server's, where it wants one.
        timeout: Seconds.

    Returns:
        The JSON that came.

    Raises:
        RefusedError: The server refused, or nobody answers.
    """
    query = urllib.parse.urlencode(_pairs(values))
    return _answer(urllib.request.Request(f"{address}{path}{'?' + query if query else ''}"), token, timeout)


def send(
    address: str, path: str, values: Values, picture: Path | None = None, token: str = "", timeout: float = 60.0
) -> Any:
    """POST a form, with a picture file or without; see `ask`."""
    edge = secrets.token_hex(16)
    lines: list[bytes] = []
    for name, value in _pairs(values):
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        lines.append(head.encode() + value.encode() + b"\r\n")
    if picture is not None:
        try:
            data = picture.read_bytes()
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise InputError(f"{picture}: cannot be read ({reason})", "check the path") from error
        head = f'--{edge}\r\nContent-Disposition: form-data; name="picture"; filename="picture"\r\n'
        lines.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n")
    body = b"".join([*lines, f"--{edge}--\r\n".encode()])
    kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    return _answer(urllib.request.Request(f"{address}{path}", body, kind, method="POST"), token, timeout)


def send_json(address: str, path: str, value: object, token: str = "", timeout: float = 60.0) -> Any:
    """POST a JSON value; see `ask`."""
    body, kind = json.dumps(value).encode(), {"Content-Type": "application/json"}
    return _answer(urllib.request.Request(f"{address}{path}", body, kind, method="POST"), token, timeout)


def follow(address: str, job: str, token: str = "", timeout: float = 60.0) -> Iterator[dict[str, Any]]:
    """Yield an index job's progress until it ends; see `ask`."""
    request = urllib.request.Request(f"{address}/api/jobs/{urllib.parse.quote(job)}/events")
    with _opened(request, token, timeout) as response:
        try:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RefusedError(f"{address}: went away", "check whether it still runs") from error


def _pairs(values: Values) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items() if isinstance(values, Mapping) else values:
        some = value if isinstance(value, list | tuple) else [value]
        pairs += [(name, str(one).lower() if isinstance(one, bool) else str(one)) for one in some if one is not None]
    return pairs


def _answer(request: urllib.request.Request, token: str, timeout: float) -> Any:
    with _opened(request, token, timeout) as response:
        try:
            return json.load(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RefusedError(f"{_address(request)}: its answer is no JSON", "check what listens there") from error


def _opened(request: urllib.request.Request, token: str, timeout: float) -> Any:
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        return _OPENER.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            try:
                document = json.loads(error.read(1_000_000))
                raise RefusedError(str(document["detail"]), str(document.get("remedy", "")), error.code) from error
            except (OSError, ValueError, KeyError, TypeError):
                raise RefusedError(
                    f"{_address(request)}: answers {error.code} {error.reason}", "", error.code
                ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RefusedError(
            f"{_address(request)}: nobody answers ({str(reason)[:100]})", "start it with: crossgraph serve"
        ) from error


def _address(request: urllib.request.Request) -> str:
    return f"{request.type}://{request.host}"
