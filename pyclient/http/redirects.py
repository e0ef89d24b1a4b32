"""Redirects that stay within the target, for the setting PEAK_FOLLOW_REDIRECTS (RFC 9110 §15.4).

One that leads anywhere else is the client's business: nothing but the configured target is ever
called, whatever it answers.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from .envelope import Request
from .paths import query_refusal, refusal
from .sinks import Response
from .target import Target

_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_CONTENT = re.compile(rb"(?im)^content-[a-z]+: [^\r]*\r\n")


def next_request(target: Target, request: Request, response: Response) -> Request | None:
    """The request that a redirect asks for, or None where it is not followed."""
    if response.status not in _FOLLOWED:
        return None
    path = _path(target, request.target, response)
    if path is None:
        return None
    to_get = response.status == 303 or (response.status in (301, 302) and request.method == b"POST")
    if to_get and request.method != b"HEAD":
        head = _CONTENT.sub(b"", request.head)
        return request._replace(method=b"GET", target=path, head=head, body=b"", add_length=False)
    return request._replace(target=path)


def _path(target: Target, now: bytes, response: Response) -> bytes | None:
    """Where to, as a raw path below the target's prefix."""
    places = [value for name, value in response.headers if name.lower() == b"location"]
    if len(places) != 1:
        return None
    try:
        origin = f"{'https' if target.tls else 'http'}://{target.authority.decode('ascii')}"
        here = origin + (target.prefix + now).decode("latin-1")
        there = urljoin(here, places[0].decode("ascii"))
        parts = urlsplit(there)
    except (ValueError, UnicodeDecodeError):
        return None
    prefix = target.prefix.decode("ascii")
    if f"{parts.scheme}://{parts.netloc}" != origin or not parts.path.startswith(prefix):
        return None
    path = parts.path.removeprefix(prefix).encode("latin-1") or b"/"
    query = parts.query.encode("latin-1")
    if refusal(path) or query_refusal(query):
        return None
    return path + (b"?" + query if query else b"")
