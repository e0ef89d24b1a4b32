"""Paths as route names: any text goes in, what a queue allows comes out."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from urllib.parse import quote

_LONGEST = 64


def route_of(path: object) -> str:
    """The route of a path: `/` and letters as they are, the rest percent-encoded.

    What is longer than a route may be is hashed; `@` in front tells, for it is encoded otherwise.
    """
    text = str(path)
    route = quote(text, safe="/+", encoding="utf-8", errors="surrogatepass")
    if 1 <= len(route) <= _LONGEST:
        return route
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return "@" + urlsafe_b64encode(digest)[:43].decode()
