"""The fault proxy does what its rules say: a proxy that lets all through breaks nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.servers import Server

from .proxy import Action, Proxy


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """In front of the test's server."""
    with Proxy(server.url, seed=1) as made:
        yield made


def dial(proxy: Proxy, timeout: float = 0.3) -> socket.socket:
    """A connection through it."""
    parts = urlsplit(proxy.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout)


def say(sock: socket.socket, text: str = "PING") -> bytes:
    """One inline command, and what comes back; empty where the connection ends."""
    try:
        sock.sendall(text.encode() + b"\r\n")
        return sock.recv(100)
    except ConnectionError:
        return b""


def test_it_lets_through(proxy: Proxy) -> None:
    with dial(proxy) as sock:
        assert say(sock) == b"+PONG\r\n"


@pytest.mark.parametrize(("action", "ran"), [("cut-before", False), ("cut-after", True)])
def test_a_cut_comes_before_or_after_redis(
    proxy: Proxy,
    server: Server,
    action: Action,
    ran: bool,  # noqa: FBT001 - of a table
) -> None:
    rule = proxy.when(b"SET", action)
    with dial(proxy) as sock:
        assert say(sock, "SET cut 1 EX 9") == b""
    assert (server.client().get("cut") == b"1") is ran
    assert rule.fired == 1
    with dial(proxy) as sock:  # once only
        assert say(sock, "SET cut 2 EX 9") == b"+OK\r\n"


def test_a_dropped_reply_leaves_the_connection_mute(proxy: Proxy) -> None:
    proxy.when(b"PING", "drop-reply")
    with dial(proxy) as sock:
        for text in ("PING", "TIME"):
            with pytest.raises(TimeoutError):
                say(sock, text)


def test_a_late_reply_comes_in_the_end(proxy: Proxy) -> None:
    proxy.when(b"PING", "late-reply", late_s=0.4)
    with dial(proxy) as sock:
        with pytest.raises(TimeoutError):
            say(sock)
        sock.settimeout(2)
        assert sock.recv(100) == b"+PONG\r\n"


def test_half_open_connections_carry_nothing_new_ones_do(proxy: Proxy) -> None:
    with dial(proxy) as old:
        assert say(old) == b"+PONG\r\n"
        assert proxy.half_open_all() == 1
        with pytest.raises(TimeoutError):
            say(old)
        with dial(proxy) as new:
            assert say(new) == b"+PONG\r\n"


def test_silence_ends(proxy: Proxy) -> None:
    with dial(proxy) as sock:
        with proxy.silent(), pytest.raises(TimeoutError):
            say(sock)
        assert sock.recv(100) == b"+PONG\r\n"


def test_refused(proxy: Proxy) -> None:
    with dial(proxy) as sock:
        assert say(sock) == b"+PONG\r\n"
        with proxy.refused():
            assert say(sock) == b""
            with dial(proxy) as other:
                assert say(other) == b""


def test_delay_and_bandwidth(proxy: Proxy) -> None:
    with dial(proxy, timeout=5) as sock:
        for slow in ("delay", "bandwidth"):
            began = time.monotonic()
            if slow == "delay":
                proxy.delay = lambda _: 0.2
            else:
                proxy.delay, proxy.bandwidth = (lambda _: 0.0), 60.0
            assert say(sock) == b"+PONG\r\n"
            assert 0.19 < time.monotonic() - began < 2


def test_resets(proxy: Proxy) -> None:
    proxy.resets = 1.0
    with dial(proxy) as sock:
        assert say(sock) == b""
