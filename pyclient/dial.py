"""Opens a link: socket, TLS, then AUTH or HELLO, SELECT, CLIENT SETNAME, PING in one write."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .address import Address, Endpoint
from .errors import ConfigError, PeakError, Unavailable
from .link import DEFAULT_LIMITS, Arg, Limits, Link
from .replies import AUTH_CODES, code_of, is_error, refusal_of

# What a server says of a client's certificate, by OpenSSL's names.
_ALERT = re.compile(
    r"_ALERT_(CERTIFICATE_\w+|BAD_CERTIFICATE\w*|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)"
)
_PLAIN = "; where it speaks TLS, the address begins with rediss://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What is said to a server first."""

    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    protocol: int = 2
    client_name: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    connect_timeout: float = 2.0

    @classmethod
    def of(cls, address: Address, *, client_name: str = "") -> Greeting:
        """For the servers that hold the data."""
        return cls(
            username=address.username,
            password=address.password,
            db=address.db,
            protocol=address.protocol,
            client_name=address.client_name or client_name,
            tls=address.tls,
            connect_timeout=address.connect_timeout,
        )

    @classmethod
    def of_sentinel(cls, address: Address) -> Greeting:
        """For the Sentinels, which have credentials of their own."""
        return cls(
            username=address.sentinel_username,
            password=address.sentinel_password,
            client_name=address.client_name,
            tls=address.tls,
            connect_timeout=address.connect_timeout,
        )


async def dial(
    endpoint: Endpoint,
    greeting: Greeting,
    *,
    limits: Limits = DEFAULT_LIMITS,
    on_push: Callable[[list[Any]], None] | None = None,
) -> Link:
    """A link that is ready for commands.

    Raises Unavailable (try again later) or ConfigError (no retry mends it).
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + greeting.connect_timeout
    try:
        async with asyncio.timeout_at(deadline):
            link = await _connect(endpoint, greeting, limits, on_push)
    except TimeoutError:
        hint = "; where it speaks no TLS, the address begins with redis://" if greeting.tls else ""
        raise Unavailable(
            f"no connection to Redis at {endpoint} within {greeting.connect_timeout:g} s{hint}",
            code="TIMEOUT",
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(
            f"the certificate of Redis at {endpoint} is not trusted: {error.verify_message}; "
            "set ssl_ca_certs, or correct the host name"
        ) from None
    except OSError as error:
        raise Unavailable(f"no connection to Redis at {endpoint}: {error}") from None
    try:
        # A handshake has the same time again: it must outlast the floor of Link.ask.
        await _shake_hands(link, endpoint, greeting, loop.time() + greeting.connect_timeout)
    except Unavailable as error:
        link.abort("the handshake failed")
        raise _refused(endpoint, greeting, error) from None
    except BaseException:
        link.abort("the handshake failed")
        raise
    return link


def _refused(endpoint: Endpoint, greeting: Greeting, error: Unavailable) -> PeakError:
    """Not `unknown`: only the handshake was sent."""
    text = str(error).removesuffix(" (the call may have run)")
    if error.code in AUTH_CODES:
        return ConfigError(f"Redis at {endpoint}: {text}")
    alert = _ALERT.search(text)
    if alert:  # in TLS 1.3 the server looks at our certificate when we are done already
        return ConfigError(
            f"Redis at {endpoint} refused the certificate of this client ({alert[1]}): "
            "expected ssl_certfile and ssl_keyfile of one that its CA has signed"
        )
    hint = "" if error.code or greeting.tls or endpoint.path else _PLAIN
    return Unavailable(f"Redis at {endpoint}: {text}{hint}", code=error.code)


async def _connect(
    endpoint: Endpoint,
    greeting: Greeting,
    limits: Limits,
    on_push: Callable[[list[Any]], None] | None,
) -> Link:
    loop = asyncio.get_running_loop()

    def factory() -> Link:
        return Link(limits=limits, on_push=on_push)

    if endpoint.path:
        _, link = await loop.create_unix_connection(factory, endpoint.path)
        return link
    name = endpoint.host if greeting.tls else None
    transport, link = await loop.create_connection(
        factory, endpoint.host, endpoint.port, ssl=greeting.tls, server_hostname=name
    )
    _keep_alive(transport)
    return link


async def _shake_hands(link: Link, endpoint: Endpoint, greeting: Greeting, deadline: float) -> None:
    steps = _steps(greeting)
    replies = await asyncio.gather(*(link.ask(step, deadline) for step in steps))
    for step, reply in zip(steps, replies, strict=True):
        if is_error(reply) and _matters(step, reply):
            raise _explain(endpoint, greeting, step, reply)


def _steps(greeting: Greeting) -> list[tuple[Arg, ...]]:
    steps: list[tuple[Arg, ...]] = []
    if greeting.protocol == 3:
        auth = ("AUTH", greeting.username or "default", greeting.password)
        steps.append(("HELLO", "3", *(auth if greeting.password else ())))
    elif greeting.password:
        user = (greeting.username,) if greeting.username else ()
        steps.append(("AUTH", *user, greeting.password))
    if greeting.db:
        steps.append(("SELECT", str(greeting.db)))
    if greeting.client_name:
        steps.append(("CLIENT", "SETNAME", greeting.client_name))
    # A stopped server still accepts; a loading one still takes AUTH. Only an answer counts.
    steps.append(("PING",))
    return steps


def _matters(step: tuple[Arg, ...], reply: object) -> bool:
    """A name for CLIENT LIST is a courtesy, and that PING is forbidden is an answer too."""
    code = code_of(reply)
    return not (code == "NOPERM" and step[0] == "PING") and not (
        code in {"NOPERM", "ERR"} and step[0] == "CLIENT"
    )


def _explain(
    endpoint: Endpoint, greeting: Greeting, step: tuple[Arg, ...], reply: object
) -> PeakError:
    code, verb = code_of(reply), step[0]
    if code in AUTH_CODES:
        return ConfigError(f"Redis at {endpoint}: {refusal_of(reply)}")
    refusal = refusal_of(reply)
    if code not in ("ERR", "NOPROTO") or isinstance(refusal, Unavailable):
        return refusal
    if verb == "AUTH":
        return ConfigError(
            f"Redis at {endpoint} refused AUTH: correct user name and password in the address "
            "(a server without a password wants none)"
        )
    if verb == "HELLO":
        return ConfigError(f"Redis at {endpoint} does not speak RESP3: leave out protocol=3")
    if verb == "SELECT":
        return ConfigError(f"Redis at {endpoint} has no database {greeting.db}: {reply}")
    return refusal


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let the kernel find a dead peer of an idle connection within half a minute."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
