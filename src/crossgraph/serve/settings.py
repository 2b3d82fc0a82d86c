"""What a server is told at its start."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass

from crossgraph.core.errors import InputError

BODY_SLACK = 64 * 1024
"""Bytes that the form around an uploaded picture may take."""
_NAME = re.compile(r"[\w-]+(\.[\w-]+)*\.?|\[?[\da-fA-F:.]+\]?")


@dataclass(frozen=True)
class ServeSettings:
    """How a server listens, and what it bears.

    Attributes:
        host: The address to listen at.
        port: The port; 0 takes a free one.
        token: What requests must bring; empty asks for none, which only a loopback address may do.
        names: Further names that requests may call this machine by, for instance a reverse proxy's.
        timeout: Seconds a request may take.
        upload_megabytes: The largest upload.
        max_megapixels: The largest picture that is decoded for a request.
        workers: Searches at a time.
        waiting: Requests that may wait for a worker; more are told to come back.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    names: tuple[str, ...] = ()
    timeout: float = 30.0
    upload_megabytes: float = 20.0
    max_megapixels: float = 80.0
    workers: int = 2
    waiting: int = 32

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming the option.

        Raises:
            InputError: A value is out of its range, or an address other than loopback has no token.
        """
        if not 0 <= self.port <= 65535:
            raise InputError(f"--port {self.port}", "give a number from 0 to 65,535; 0 takes a free port")
        if not self.host.strip() or any(letter.isspace() for letter in self.host):
            raise InputError(f"--host '{self.host}'", "give an address such as 127.0.0.1, or 0.0.0.0 for all")
        for option, value, most in (
            ("--timeout", self.timeout, 3600.0),
            ("--max-upload", self.upload_megabytes, 1e4),
            ("--max-megapixels", self.max_megapixels, 1e4),
        ):
            if not 0 < value <= most:
                raise InputError(f"{option} {value:g}", f"give a number above 0, up to {most:,.0f}")
        for option, count, least in (("--workers", self.workers, 1), ("--queue", self.waiting, 0)):
            if not least <= count <= 1000:
                raise InputError(f"{option} {count}", f"give a whole number from {least} to 1,000")
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
        return int(self.upload_megabytes * 1e6) + BODY_SLACK

    def knows_host(self, name: str) -> bool:
        """Tell whether a request may call this machine so; a name that an attacker's DNS chose may not.

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
    """Tell whether a host is written as numbers: such a one cannot be pointed elsewhere by DNS."""
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Tell whether only this machine reaches an address."""
    name = name.strip("[]").lower()
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name.partition("%")[0]).is_loopback)


def token_from_environment() -> str:
    """Return $CROSSGRAPH_TOKEN: unlike an option, other users of the machine do not see it."""
    return os.environ.get("CROSSGRAPH_TOKEN", "")
