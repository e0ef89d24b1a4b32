"""The strict request guard: what is refused before anything else looks at a request.

Servers differ in what they let through (two Hosts, Transfer-Encoding beside Content-Length,
absolute targets); behind this guard a request means one thing only, whatever server runs it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pyclient.settings import Settings

from .asgi import Scope
from .problems import Problem

_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_WATCHED = frozenset({b"host", b"transfer-encoding", b"content-length", b"upgrade"})


class Checked(NamedTuple):
    """What the guard found: a problem, or how the body is framed and what upgrade is asked for."""

    problem: Problem | None
    length: int | None = None
    chunked: bool = False
    upgrade: bytes = b""

    @property
    def has_body(self) -> bool:
        """Whether the client announced a body, be it empty."""
        return self.chunked or self.length is not None


_PLAIN = Checked(None)


class Guard:
    """Checks by the settings of the process."""

    __slots__ = ("_hosts", "_max_bytes", "_max_headers", "_max_url", "_seen_hosts")

    def __init__(self, settings: Settings) -> None:
        self._max_headers = settings.max_headers
        self._max_bytes = settings.max_header_bytes
        self._max_url = settings.max_url
        self._hosts = frozenset(host.lower().encode() for host in settings.allowed_hosts)
        self._seen_hosts: set[bytes] = set()

    def check(self, scope: Scope) -> Checked:
        """One pass over the headers, and what is wrong with them, if anything."""
        if len(scope["raw_path"]) + len(scope["query_string"]) + 1 > self._max_url:
            detail = f"path and query exceed {self._max_url} bytes"
            return Checked(Problem(414, "url", detail, close=True))
        if scope["method"] == "CONNECT":  # what follows it would be no request of HTTP
            return Checked(Problem(501, "connect", "no tunnels are opened here", close=True))
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        size = 0
        watched: list[tuple[bytes, bytes]] = []
        for pair in headers:
            size += len(pair[0]) + len(pair[1]) + 4
            if pair[0] in _WATCHED:
                watched.append(pair)
        if size > self._max_bytes or len(headers) > self._max_headers:
            detail = f"more than {self._max_headers} header lines or {self._max_bytes} bytes"
            return Checked(Problem(431, "headers", detail, close=True))
        if len(watched) == 1 and watched[0][0] == b"host" and watched[0][1] in self._seen_hosts:
            return _PLAIN
        hosts = [value for name, value in watched if name == b"host"]
        problem = self._host(hosts, scope["http_version"])
        return Checked(problem) if problem else _framing(watched, scope["http_version"])

    def _host(self, hosts: list[bytes], version: str) -> Problem | None:
        if not hosts and version == "1.0":
            return None
        if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
            detail = f"expected one Host that is a name or an address, got {len(hosts)}"
            return Problem(400, "host", detail, close=True)
        name = hosts[0].rpartition(b":")[0] if re.search(rb":\d+$", hosts[0]) else hosts[0]
        if self._hosts and name.lower() not in self._hosts:
            return Problem(421, "host", "this gateway does not answer for that Host")
        if len(self._seen_hosts) < 1024:
            self._seen_hosts.add(hosts[0])
        return None


def _framing(watched: list[tuple[bytes, bytes]], version: str) -> Checked:
    """Where one request ends and the next begins must not be a matter of taste (RFC 9112 §6.3)."""
    codings = [value for name, value in watched if name == b"transfer-encoding"]
    lengths = [value for name, value in watched if name == b"content-length"]
    upgrade = b",".join(value.lower() for name, value in watched if name == b"upgrade")
    if codings:
        if lengths:
            return _bad("framing", "Transfer-Encoding and Content-Length exclude each other")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            return _bad("framing", "the only Transfer-Encoding that is taken is chunked")
        if version == "1.0":
            return _bad("framing", "Transfer-Encoding is not part of HTTP/1.0")
        return Checked(None, chunked=True, upgrade=upgrade)
    if not lengths:
        return Checked(None, upgrade=upgrade)
    if len(lengths) > 1 or _DIGITS.fullmatch(lengths[0]) is None:
        return _bad("framing", "expected one Content-Length of decimal digits")
    return Checked(None, length=int(lengths[0]), upgrade=upgrade)


def _bad(code: str, detail: str) -> Checked:
    return Checked(Problem(400, code, detail, close=True))
