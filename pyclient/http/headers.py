"""Which header lines travel, and which are ours to write (RFC 9110 §7.6, RFC 7239, RFC 7230 §6.1).

Everything else keeps its value, order and repetition byte for byte, octets above 0x7f included.
Request names are expected in lower case, as ASGI has them; those of responses may have any case.

| request | rule |
|---|---|
| hop-by-hop, and what Connection names | dropped |
| Content-Length, Expect | dropped; whoever writes the body frames it |
| Host | dropped, or kept where the caller says so; the sender writes the target's |
| X-Forwarded-For | one line: what came, and the peer |
| X-Forwarded-Proto, -Host | ours, unless a trusted peer sent its own |
| Forwarded | passed on with our element from a trusted peer, else dropped |
| X-Real-IP and the other X-Forwarded-* of the list below | dropped unless the peer is trusted |
| their twins with `_` (CGI would take them for the same) | dropped |
| Via | what came, and a line of ours |
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from ipaddress import IPv4Network, IPv6Network, ip_address

Pairs = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
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
)
_FRAMING = frozenset({b"content-length", b"expect", b"host"})
_CLAIMS = frozenset(
    {
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-forwarded-ssl",
        b"x-real-ip",
    }
)
_OURS = frozenset({b"x-forwarded-for", b"forwarded"})
_SPECIAL = HOP_BY_HOP | _FRAMING | _CLAIMS | _OURS
_TWINS = frozenset(
    name.replace(b"-", b"_") for name in _CLAIMS | _OURS | {b"content-length", b"transfer-encoding"}
)
_PLAIN_CONNECTION = frozenset({b"", b"keep-alive", b"close", b"upgrade", b"te"})
_VIA = b"via: 1.1 peakshaver\r\n"
SERVER = (b"server", b"peakshaver")
_NO_BODY = frozenset({204, 304})


def connection_names(values: Iterable[bytes]) -> frozenset[bytes]:
    """The header names that Connection lines declare to be hop-by-hop, in lower case."""
    found = {token.strip().lower() for value in values for token in value.split(b",")}
    return frozenset(found - _PLAIN_CONNECTION)


class RequestRules:
    """The rules for one process; `trusted` are the peers whose claims are believed."""

    __slots__ = ("_peers", "_trusted")

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self._peers: dict[str, bool] = {}

    def trusts(self, peer: str) -> bool:
        """Whether `peer` (an address as text) may speak for others."""
        if not self._trusted:
            return False
        known = self._peers.get(peer)
        if known is None:
            if len(self._peers) >= 4096:
                self._peers.clear()
            known = self._peers[peer] = self._lookup(peer)
        return known

    def _lookup(self, peer: str) -> bool:
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)

    def head(self, headers: Pairs, *, peer: str, scheme: str) -> tuple[bytes, bytes, bool]:
        """The block of header lines for the target, the client's Host, and if it framed a body.

        The block ends with CRLF and holds neither Host nor framing (see `pyclient.http.client`).
        """
        trusted = bool(self._trusted) and self.trusts(peer)
        named: frozenset[bytes] = frozenset()
        lines: list[bytes] = []
        seen: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in _SPECIAL:
                seen.setdefault(name, []).append(value)
                if not (trusted and name in _CLAIMS):
                    continue
            elif b"_" in name and name in _TWINS:
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
        if b"connection" in seen:
            named = connection_names(seen[b"connection"])
            if named:
                lines = [line for line in lines if line[: line.index(b":")] not in named]
        host = seen[b"host"][0] if b"host" in seen else b""
        lines.append(self._forwarded(seen, named, peer=peer, scheme=scheme, trusted=trusted))
        lines.append(_VIA)
        framed = b"content-length" in seen or b"transfer-encoding" in seen
        return b"".join(lines), host, framed

    def _forwarded(
        self,
        seen: dict[bytes, list[bytes]],
        named: frozenset[bytes],
        *,
        peer: str,
        scheme: str,
        trusted: bool,
    ) -> bytes:
        """Our lines about who asked; `Connection` can't take them away."""
        address = peer.encode("ascii", "replace") or b"unknown"
        chain = [] if b"x-forwarded-for" in named else seen.get(b"x-forwarded-for", [])
        lines = [b"x-forwarded-for: %b\r\n" % b", ".join([*(v for v in chain if v), address])]
        believed = seen if trusted else {}
        if b"x-forwarded-proto" not in believed or b"x-forwarded-proto" in named:
            lines.append(b"x-forwarded-proto: %b\r\n" % scheme.encode("ascii"))
        host = seen[b"host"][0] if b"host" in seen else b""
        if host and (b"x-forwarded-host" not in believed or b"x-forwarded-host" in named):
            lines.append(b"x-forwarded-host: %b\r\n" % host)
        if trusted and b"forwarded" in seen:
            node = b'"[%b]"' % address if b":" in address else address
            ours = b"for=%b;proto=%b" % (node, scheme.encode("ascii"))
            lines.append(b"forwarded: %b\r\n" % b", ".join([*seen[b"forwarded"], ours]))
        return b"".join(lines)


def response_headers(
    pairs: Pairs, *, status: int, method: str, length: int | None
) -> list[tuple[bytes, bytes]]:
    """The header lines for the client: one Date, one Server, and framing that fits the body.

    `length` is that of the whole body, or None where it streams. The target's Content-Length
    stays where it describes what is not sent (HEAD, 304) and in a stream.
    """
    out: list[tuple[bytes, bytes]] = []
    once: set[bytes] = set()
    connection: list[bytes] = []
    said: tuple[bytes, bytes] | None = None
    for name, value in pairs:
        lower = name.lower()
        if lower in HOP_BY_HOP:
            if lower == b"connection":
                connection.append(value)
        elif lower == b"content-length":
            if not said:
                said = (lower, value)
                out.append(said)
        elif lower == b"date" or lower == b"server":
            if lower not in once:
                once.add(lower)
                out.append((lower, value))
        else:
            out.append((lower, value))
    if connection:
        named = connection_names(connection)
        if named:
            out = [pair for pair in out if pair[0] not in named]
            once -= named
    if b"date" not in once:
        out.append((b"date", http_date()))
    if b"server" not in once:
        out.append(SERVER)
    framing = _length(said[1] if said else b"", status=status, method=method, length=length)
    place = out.index(said) if said in out else len(out)
    out[place : place + 1] = [] if framing is None else [(b"content-length", framing)]
    return out


def _length(said: bytes, *, status: int, method: str, length: int | None) -> bytes | None:
    """Content-Length of the answer, or None for none."""
    if method == "HEAD" or status == 304 or length is None:
        fits = said.isdigit() and len(said) <= 18 and status != 204
        return said if fits else None
    return None if status in _NO_BODY else b"%d" % length


_date = (0, b"")


def http_date() -> bytes:
    """The time now as an HTTP date, formatted once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]


def answer_framing(pairs: Pairs) -> tuple[bool, float, str]:
    """Whether an answer says where its body ends, the seconds of its `Keep-Alive: timeout=N` (or
    0), and what is wrong with its framing, if anything."""
    framed, alive_s, fault = False, 0.0, ""
    for name, value in pairs:
        if len(name) in (10, 14, 17):
            lower = name.lower()
            if lower == b"content-length":
                framed = True
            elif lower == b"transfer-encoding":
                framed = True
                if value.strip().lower() != b"chunked":  # nobody could undo another coding
                    fault = "the transfer coding of the target's answer is not chunked"
            elif lower == b"keep-alive":
                alive_s = _keep_alive_seconds(value)
    return framed, alive_s, fault


def _keep_alive_seconds(value: bytes) -> float:
    """The seconds of `Keep-Alive: timeout=N`, 0 where it says nothing."""
    for part in value.split(b","):
        key, _, number = part.strip().partition(b"=")
        if key.lower() == b"timeout" and number.isdigit() and len(number) < 7:
            return float(number)
    return 0.0
