"""The documented header rules, written down a second time: what is allowed to differ from a direct
connection, and nothing else. See the table in pyclient/http/headers.py and docs.
"""

from __future__ import annotations

Lines = list[tuple[bytes, bytes]]

_HOP_BY_HOP = {
    b"connection",
    b"http2-settings",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
_CLAIMS = {
    b"forwarded",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-prefix",
    b"x-forwarded-proto",
    b"x-forwarded-scheme",
    b"x-forwarded-server",
    b"x-forwarded-ssl",
    b"x-real-ip",
}
_FRAMING = {b"content-length", b"expect", b"host"}


def _lower(lines: Lines) -> Lines:
    return [(name.lower(), value) for name, value in lines]


def _named(lines: Lines) -> set[bytes]:
    """What Connection declares to be for this hop only."""
    return {
        token.strip().lower()
        for name, value in lines
        if name == b"connection"
        for token in value.split(b",")
    } - {b""}


def at_target(direct: Lines, *, host: bytes, body: bytes | None) -> Lines:
    """Lines that the target must get, from those that it gets directly; `body` None: no framing."""
    lines = _lower(direct)
    named = _named(lines)
    front = next(value for name, value in lines if name == b"host")
    chain = [value for name, value in lines if name == b"x-forwarded-for" and value]
    chain = [] if b"x-forwarded-for" in named else chain
    twins = {name.replace(b"-", b"_") for name in _CLAIMS | {b"x-forwarded-for"}}
    twins = (twins - _CLAIMS) | {b"content_length", b"transfer_encoding"}
    dropped = _HOP_BY_HOP | _CLAIMS | _FRAMING | twins | {b"x-forwarded-for"} | named
    kept = [pair for pair in lines if pair[0] not in dropped]
    ours = [
        (b"x-forwarded-for", b", ".join([*chain, b"127.0.0.1"])),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", front),
        (b"via", b"1.1 peakshaver"),
    ]
    framing = [] if body is None else [(b"content-length", b"%d" % len(body))]
    return [(b"host", host), *kept, *ours, *framing]


def at_client(direct: Lines, *, status: int, method: bytes, body: bytes) -> Lines:
    """Lines that the client must get, from those of a direct answer; Date and Server that are ours
    to add are not among them."""
    lines = _lower(direct)
    named = _named(lines)
    out: Lines = []
    once: set[bytes] = set()
    for name, value in lines:
        if name in _HOP_BY_HOP or name in named or name in once or name == b"content-length":
            continue
        if name in (b"date", b"server"):
            once.add(name)
        out.append((name, value))
    if method == b"HEAD" or status == 304:
        out += [pair for pair in lines if pair[0] == b"content-length"][:1]
    elif status != 204:
        out.append((b"content-length", b"%d" % len(body)))
    return out
