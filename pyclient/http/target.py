"""The API behind the line: its address, taken apart once."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from pyclient.errors import ConfigError
from pyclient.settings_parse import http_url

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream. `authority` is the Host to send, `prefix` goes before every raw path."""

    base: bytes
    tls: bool
    host: str
    port: int
    authority: bytes
    prefix: bytes

    @classmethod
    def parse(cls, url: str) -> Target:
        """Take `http(s)://host[:port][/prefix]` apart; raises ConfigError.

        A trailing slash of the prefix is dropped, since every raw path begins with one.
        """
        try:
            parts = urlsplit(http_url(url))
        except ValueError as error:
            raise ConfigError(f"target: expected {error}, got {url!r}") from None
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        shown = f"[{host}]" if ":" in host else host
        authority = shown if port == _PORTS[parts.scheme] else f"{shown}:{port}"
        prefix = parts.path.rstrip("/")
        return cls(
            base=f"{parts.scheme}://{authority}{prefix}".encode("ascii"),
            tls=parts.scheme == "https",
            host=host,
            port=port,
            authority=authority.encode("ascii"),
            prefix=prefix.encode("ascii"),
        )

    def __str__(self) -> str:
        return self.base.decode("ascii")
