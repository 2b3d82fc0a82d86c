"""Settings of a server: addresses, token, limits."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import Annotated

from crossgraph.core.errors import InputError
from crossgraph.core.ranges import CheckedSettings, Range

BODY_SLACK = 64 * 1024
"""Bytes that the form around an uploaded picture may take."""
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?|\[?[\da-fA-F:.]+\]?")


@dataclass(frozen=True)
class ServeSettings(CheckedSettings, prefix="--"):
    """How a server listens, and its limits.

    Attributes:
        host: The address to listen at.
        port: The port; 0 takes a free one.
        token: Required of requests; empty requires none, which only a loopback address may do.
        names: Further names that requests may call this machine by, for instance a reverse proxy's.
        timeout: Seconds a request may take.
        max_upload: The largest upload in megabytes.
        max_megapixels: The largest picture that is decoded for a request.
        workers: Searches at a time.
        queue: Requests that may wait for a worker; more are refused for the moment.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Range(least=0, most=65_535)] = 8000
    token: str = ""
    names: tuple[str, ...] = ()
    timeout: Annotated[float, Range(above=0, most=3600)] = 30.0
    max_upload: Annotated[float, Range(above=0, most=10_000)] = 20.0
    max_megapixels: Annotated[float, Range(above=0, most=10_000)] = 80.0
    workers: Annotated[int, Range(least=1, most=1000)] = 2
    queue: Annotated[int, Range(least=0, most=1000)] = 32

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the option.

        Raises:
            InputError: A value is out of its range, or an address other than loopback has no token.
        """
        super().__post_init__()
        if not self.host.strip() or any(letter.isspace() for letter in self.host):
            raise InputError(f"--host '{self.host}'", "give an address such as 127.0.0.1, or 0.0.0.0 for all")
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise InputError(f"--name '{name}': is no name of a machine", "write it alone, like pictures.home")
        if self.token and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise InputError("--token: holds spaces or unusual characters", "use letters, digits and -_.~ only")
        if not self.token and not is_loopback(self.host):
            raise InputError(f"--host {self.host}: other machines reach it", "give a --token")

    @property
    def body_bytes(self) -> int:
        """The largest body of a request."""
        return int(self.max_upload * 1e6) + BODY_SLACK

    def knows_host(self, name: str) -> bool:
        """Return whether a request may call this machine by a name; a name that an attacker's DNS chose may not.

        Args:
            name: Of the Host header, without the port.
        """
        name = name.strip("[]").rstrip(".").lower()
        if name in {known.lower() for known in (*self.names, "localhost")}:
            return True
        if is_loopback(self.host):
            return is_loopback(name)
        machine = socket.gethostname().lower()
        return is_address(name) or name in (self.host.lower(), machine, machine.partition(".")[0] + ".local")


def is_address(name: str) -> bool:
    """Return whether a host is an IP address, which DNS cannot point elsewhere."""
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Return whether only this machine reaches an address."""
    name = name.strip("[]").lower()
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name.partition("%")[0]).is_loopback)


def token_from_environment() -> str:
    """Return $CROSSGRAPH_TOKEN: unlike an option, other users of the machine do not see it."""
    return os.environ.get("CROSSGRAPH_TOKEN", "")
