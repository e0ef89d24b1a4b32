"""The guard from outside, byte for byte: what could be read in two ways is read in none."""

from __future__ import annotations

import re
import socket

import pytest

from tests.gateway.stack import Stack, read_all
from tests.security.http_cases import NEXT, NO_TARGETS, REFUSED, TAKEN, Case

pytestmark = pytest.mark.leaves_processes
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def exchange(port: int, data: bytes, *, timeout: float = 5.0) -> bytes:
    """Send, and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(data)
        return read_all(sock)


def statuses(got: bytes) -> tuple[int, ...]:
    return tuple(int(found) for found in STATUS.findall(got))


def seen(stack: Stack) -> tuple[bytes, ...]:
    """The targets that the protected API was asked for."""
    return tuple(head.split(b" ")[1] for head in stack.target.heads())


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_two_meanings_gets_one_400_and_the_end(hold: Stack, name: str) -> None:
    got = exchange(hold.port, REFUSED[name] + NEXT)
    assert statuses(got) == (400,), got
    assert b"application/problem+json" in got
    assert b"connection: close" in got.lower()
    assert seen(hold) == ()


@pytest.mark.parametrize("name", NO_TARGETS)
def test_a_target_that_is_no_plain_path_is_refused(hold: Stack, name: str) -> None:
    got = exchange(hold.port, NO_TARGETS[name] + NEXT)
    assert statuses(got) == (400, 200), got
    assert seen(hold) == (b"/next",)


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_unusual_and_right_is_taken(hold: Stack, name: str) -> None:
    case: Case = TAKEN[name]
    got = exchange(hold.port, case.sent + NEXT)
    assert statuses(got) == case.statuses, got
    assert seen(hold) == case.seen
