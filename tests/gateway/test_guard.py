"""The strict guard by itself: what other servers than ours would let through."""

from __future__ import annotations

import pytest

from gateway_app.guard import Guard
from pyclient.settings import Settings, load

Headers = list[tuple[bytes, bytes]]
HOST = (b"host", b"example.org")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The defaults, and a single host."""
    monkeypatch.setenv("PEAK_ALLOWED_HOSTS", "example.org")
    return load()


def status(guard: Guard, headers: Headers, version: str = "1.1", path: bytes = b"/") -> int:
    """The status of the refusal; 0 where it passes."""
    scope = {
        "raw_path": path,
        "query_string": b"",
        "method": "POST",
        "headers": headers,
        "http_version": version,
    }
    problem = guard.check(scope).problem
    return problem.status if problem else 0


@pytest.mark.parametrize(
    ("headers", "version", "wanted"),
    [
        ([HOST], "1.1", 0),
        ([], "1.0", 0),
        ([], "1.1", 400),
        ([HOST, HOST], "1.1", 400),
        ([(b"host", b"example.org, other")], "1.1", 400),
        ([(b"host", b"other.org")], "1.1", 421),
        ([(b"host", b"EXAMPLE.org:80")], "1.1", 0),
        ([HOST, (b"content-length", b"5")], "1.1", 0),
        ([HOST, (b"transfer-encoding", b"chunked")], "1.1", 0),
        ([HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"5")], "1.1", 400),
        ([HOST, (b"content-length", b"5"), (b"transfer-encoding", b"chunked")], "1.1", 400),
        ([HOST, (b"content-length", b"5"), (b"content-length", b"5")], "1.1", 400),
        ([HOST, (b"content-length", b"+5")], "1.1", 400),
        ([HOST, (b"content-length", b"5, 5")], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], "1.1", 400),
        ([HOST, (b"transfer-encoding", b"chunked")] * 2, "1.1", 400),
        ([(b"transfer-encoding", b"chunked")], "1.0", 400),
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_refused(
    settings: Settings, headers: Headers, version: str, wanted: int
) -> None:
    assert status(Guard(settings), headers, version) == wanted


def test_there_is_a_bound_on_everything(settings: Settings) -> None:
    guard = Guard(settings)
    many = [HOST, *[(b"x", b"")] * settings.max_headers]
    assert status(guard, many) == 431
    assert status(guard, many[:-1]) == 0
    assert status(guard, [HOST, (b"x", b"y" * settings.max_header_bytes)]) == 431
    assert status(guard, [HOST], path=b"/" * settings.max_url) == 414


def test_hosts_that_were_seen_are_no_way_around_the_list(settings: Settings) -> None:
    guard = Guard(settings)
    for _ in range(2):
        assert status(guard, [HOST]) == 0
        assert status(guard, [(b"host", b"other.org")]) == 421
