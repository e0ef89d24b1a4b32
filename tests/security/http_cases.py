"""Requests as bytes, and what a strict gateway makes of each: the statuses on the wire, in order,
and the targets that reach the protected API.

Behind each stands NEXT, a request that only a gateway which got the end of the first one wrong
would send on; where the first one is refused for its framing, nothing may follow at all.
"""

from __future__ import annotations

from typing import NamedTuple

NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"
CLOSE = b"Connection: close\r\n"


class Case(NamedTuple):
    """What is sent, which statuses come back, which targets the API sees."""

    sent: bytes
    statuses: tuple[int, ...] = (400,)
    seen: tuple[bytes, ...] = ()


def length(value: bytes, body: bytes = b"abcde") -> bytes:
    """A POST with this Content-Length."""
    return POST + b"Content-Length:%b\r\n\r\n" % value + body


def coding(value: bytes) -> bytes:
    """A POST with this Transfer-Encoding, and chunks."""
    return POST + b"Transfer-Encoding:%b\r\n\r\n" % value + b"5\r\nabcde\r\n" + LAST


def chunked(body: bytes) -> bytes:
    """A POST with these bytes as its chunked body."""
    return POST + TE + b"\r\n" + body


def host(*values: bytes) -> bytes:
    """A GET with these Host lines."""
    return b"GET /a HTTP/1.1\r\n" + b"".join(b"Host:%b\r\n" % v for v in values) + b"\r\n"


def line(value: bytes) -> bytes:
    """A GET with this header line, or whatever it is."""
    return GET + value + b"\r\n\r\n"


def start(value: bytes) -> bytes:
    """A request with this first line."""
    return value + b"\r\nHost: h\r\n\r\n"


REFUSED: dict[str, bytes] = {
    # where a message ends
    "length, then chunked": POST + b"Content-Length: 5\r\n" + TE + b"\r\n" + LAST,
    "chunked, then length": POST + TE + b"Content-Length: 5\r\n\r\n" + LAST,
    "chunked and length 0": POST + TE + b"Content-Length: 0\r\n\r\n" + LAST,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "one length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "two lengths apart": POST + b"Content-Length: 5\r\nA: b\r\ncontent-length: 0\r\n\r\nabcde",
    "a list of lengths": length(b" 5, 5"),
    "two lengths in a line": length(b" 5 5"),
    "a signed length": length(b" +5"),
    "a negative length": length(b" -5"),
    "a hexadecimal length": length(b" 0x5"),
    "a fractional length": length(b" 5.0"),
    "a power as length": length(b" 5e0"),
    "an underscored length": length(b" 0_5"),
    "a quoted length": length(b' "5"'),
    "blanks behind a length": length(b" 5\t "),
    "an empty length": length(b""),
    "a length of another script": length(" ٥".encode()),
    "a length above 2^64": length(b" 18446744073709551621"),
    "a length of 30 digits": length(b" " + b"9" * 30),
    "a length with a NUL": length(b" 5\0"),
    "a length behind a vertical tab": length(b" \x0b5"),
    "gzip, chunked": coding(b" gzip, chunked"),
    "chunked, gzip": coding(b" chunked, gzip"),
    "chunked, chunked": coding(b" chunked, chunked"),
    "chunked, identity": coding(b" chunked, identity"),
    "identity": coding(b" identity"),
    "xchunked": coding(b" xchunked"),
    "chunkedx": coding(b" chunkedx"),
    "a vertical tab before chunked": coding(b" \x0bchunked"),
    "a NUL behind chunked": coding(b" chunked\0"),
    "chunked with a parameter": coding(b" chunked;q=1"),
    "chunked in quotes": coding(b' "chunked"'),
    "no coding": coding(b""),
    "chunked on two lines": POST + TE + TE + b"\r\n" + LAST,
    "chunked and identity on two lines": POST + TE + b"Transfer-Encoding: identity\r\n\r\n" + LAST,
    "a blank before the colon of a coding": POST + b"Transfer-Encoding : chunked\r\n\r\n" + LAST,
    "a coding on a folded line": POST + b"A: b\r\n Transfer-Encoding: chunked\r\n\r\n" + LAST,
    "a coding folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + LAST,
    "chunks in HTTP/1.0": b"POST /a HTTP/1.0\r\nHost: h\r\n" + TE + b"\r\n" + LAST,
    # chunks
    "a signed chunk": chunked(b"+5\r\nabcde\r\n" + LAST),
    "a negative chunk": chunked(b"-5\r\nabcde\r\n" + LAST),
    "a chunk of 0x5": chunked(b"0x5\r\nabcde\r\n" + LAST),
    "a chunk without a size": chunked(b"\r\nabcde\r\n" + LAST),
    "a blank before a size": chunked(b" 5\r\nabcde\r\n" + LAST),
    "a chunk above 2^64": chunked(b"10000000000000005\r\nabcde\r\n" + LAST),
    "a chunk of 40 digits": chunked(b"f" * 40 + b"\r\nabcde\r\n" + LAST),
    "a chunk that runs over": chunked(b"4\r\nabcde\r\n" + LAST),
    "no line end behind a chunk": chunked(b"5\r\nabcdeGET " + LAST),
    "a line feed behind a size": chunked(b"5\nabcde\r\n" + LAST),
    "a line feed in an extension": chunked(b"5;a\nb\r\nabcde\r\n" + LAST),
    "a carriage return in an extension": chunked(b"5;a\rb\r\nabcde\r\n" + LAST),
    "a size of another script": chunked("٥\r\nabcde\r\n".encode() + LAST),
    "a length in the trailer": chunked(b"5\r\nabcde\r\n0\r\nContent-Length: 9\r\n\r\n"),
    # the host
    "no host": host(),
    "two hosts": host(b" h", b" i"),
    "one host twice": host(b" h", b" h"),
    "an empty host": host(b" "),
    "a list of hosts": host(b" h, i"),
    "a host with a path": host(b" h/a"),
    "a host with a query": host(b" h?a"),
    "a host with a fragment": host(b" h#a"),
    "a host with a user": host(b" u@h"),
    "a host with a blank": host(b" h i"),
    "a host with a backslash": host(b" h\\i"),
    "a host with an escape": host(b" h%00"),
    "a host with a NUL": host(b" h\0"),
    "a host that is a URL": host(b" http://h"),
    "a port that is a word": host(b" h:http"),
    "a port of six digits": host(b" h:123456"),
    "half an address": host(b" [::1"),
    "an address behind a name": host(b" h[::1]"),
    "a host of another script": host(" bücher".encode()),
    # header lines
    "a folded line": line(b"A: b\r\n c"),
    "a line folded with a tab": line(b"A: b\r\n\tc"),
    "a folded first line": GET[:17] + b" A: b\r\nHost: h\r\n\r\n",
    "a NUL in a value": line(b"A: b\0c"),
    "a carriage return in a value": line(b"A: b\rc"),
    "an injected line": line(b"A: b\rHost: evil"),
    "a control byte in a value": line(b"A: b\x01c"),
    "a DEL in a value": line(b"A: b\x7fc"),
    "no colon": line(b"nothing"),
    "no name": line(b": b"),
    "a blank in a name": line(b"A b: c"),
    "a blank behind a name": line(b"A : c"),
    "a tab behind a name": line(b"A\t: c"),
    "a NUL in a name": line(b"A\0: c"),
    "a bracket in a name": line(b"A(: c"),
    "a name of another script": line("Ä: c".encode()),
    "bare line feeds": b"GET /a HTTP/1.1\nHost: h\n\n",
    "one bare line feed": GET + b"A: b\n\r\n",
    "a line feed before the end": GET + b"\n",
    # the first line
    "a target with another scheme": start(b"GET file:///etc/passwd HTTP/1.1"),
    "an authority as target": start(b"GET h:80 HTTP/1.1"),
    "CONNECT": start(b"CONNECT h:443 HTTP/1.1"),
    "a target without a slash": start(b"GET a HTTP/1.1"),
    "a backslash": start(b"GET \\a HTTP/1.1"),
    "a NUL in the target": start(b"GET /a\0 HTTP/1.1"),
    "a DEL in the target": start(b"GET /a\x7f HTTP/1.1"),
    "a blank in the target": start(b"GET /a b HTTP/1.1"),
    "no version": b"GET /a\r\n\r\n",
    "HTTP/0.9": start(b"GET /a HTTP/0.9"),
    "HTTP/1.2": start(b"GET /a HTTP/1.2"),
    "HTTP/1.10": start(b"GET /a HTTP/1.10"),
    "HTTP/2.0": start(b"GET /a HTTP/2.0"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another protocol": start(b"GET /a HTTPS/1.1"),
    "a word in lower case": start(b"GET /a http/1.1"),
    "no method": start(b"/a HTTP/1.1"),
    "a blank before the method": start(b" GET /a HTTP/1.1"),
    "a bracket in the method": start(b"GE(T /a HTTP/1.1"),
    "a NUL in the method": start(b"GE\0T /a HTTP/1.1"),
    "a method of another script": start("GÉT /a HTTP/1.1".encode()),
    "a tab between": start(b"GET\t/a HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "SMTP": b"EHLO h\r\nMAIL FROM:<a@h>\r\n\r\n",
    "Redis": b"*1\r\n$8\r\nFLUSHALL\r\n\r\n",
}

# Here nobody can be wrong about where the request ends: it is refused, and the next one is served.
NO_TARGETS: dict[str, bytes] = {
    "an absolute target": start(b"GET http://h/a HTTP/1.1"),
    "an absolute target elsewhere": start(b"GET http://169.254.169.254/latest HTTP/1.1"),
    "a target with a user": start(b"GET http://u:p@h/ HTTP/1.1"),
    "an asterisk": start(b"OPTIONS * HTTP/1.1"),
    "a fragment": start(b"GET /a#b HTTP/1.1"),
    # what a path may not hold
    "up": start(b"GET /a/../b HTTP/1.1"),
    "up, escaped": start(b"GET /a/%2e%2e/b HTTP/1.1"),
    "up, escaped twice": start(b"GET /a/%252e%252e/b HTTP/1.1"),
    "up by a backslash": start(b"GET /a/..%5cb HTTP/1.1"),
    "up by an escaped slash": start(b"GET /a/..%2fb HTTP/1.1"),
    "up with a parameter": start(b"GET /a/..;x/b HTTP/1.1"),
    "an escaped line end": start(b"GET /a%0d%0aHost:%20evil HTTP/1.1"),
    "an escaped NUL": start(b"GET /a%00 HTTP/1.1"),
}

# What is well formed, if unusual, and must go on meaning one thing.
TAKEN: dict[str, Case] = {
    "plain": Case(GET + b"\r\n", (200, 200), (b"/a", b"/next")),
    "close": Case(GET + CLOSE + b"\r\n", (200,), (b"/a",)),
    "an empty line before": Case(b"\r\n" + GET + b"\r\n", (200, 200), (b"/a", b"/next")),
    "a length": Case(length(b" 5"), (200, 200), (b"/a", b"/next")),
    "a length with zeros": Case(length(b" 0005"), (200, 200), (b"/a", b"/next")),
    "an empty body": Case(length(b" 0", b""), (200, 200), (b"/a", b"/next")),
    "CHUNKED": Case(coding(b" CHUNKED"), (200, 200), (b"/a", b"/next")),
    "chunked without a blank": Case(coding(b"chunked"), (200, 200), (b"/a", b"/next")),
    "an extension": Case(
        chunked(b'5;a=b;c="d"\r\nabcde\r\n' + LAST), (200, 200), (b"/a", b"/next")
    ),
    "leading zeros of a size": Case(
        chunked(b"00005\r\nabcde\r\n000\r\n\r\n"), (200, 200), (b"/a", b"/next")
    ),
    "a trailer": Case(
        chunked(b"5\r\nabcde\r\n0\r\nHost: evil\r\nA: b\r\n\r\n"),
        (200, 200),
        (b"/a", b"/next"),
    ),
    "bytes above 0x7f in a value": Case(line(b"A: \xe4\xff"), (200, 200), (b"/a", b"/next")),
    "an address as host": Case(host(b" [::1]:8080"), (200, 200), (b"/a", b"/next")),
    "a host with a port": Case(host(b" h.example:80"), (200, 200), (b"/a", b"/next")),
    "HTTP/1.0 without a host": Case(b"GET /a HTTP/1.0\r\n\r\n", (200,), (b"/a",)),
    "a query that looks like a URL": Case(
        start(b"GET /a?u=http://evil/ HTTP/1.1"), (200, 200), (b"/a?u=http://evil/", b"/next")
    ),
    "two slashes": Case(start(b"GET //evil/x HTTP/1.1"), (200, 200), (b"//evil/x", b"/next")),
    "a Connection that names what is ours": Case(
        GET + b"Connection: close, x-forwarded-for, host, via\r\n\r\n", (200,), (b"/a",)
    ),
}
