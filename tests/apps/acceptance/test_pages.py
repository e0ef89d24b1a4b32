"""B24–B27: pass-through, the target's documentation, the gateway's own pages, health."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable

import pytest

from tests.servers import Server, free_ports, valkey

from .rawtarget import answer, slow
from .rig import Site, site

PAGE = (
    b'<html><script>SwaggerUIBundle({url: "/openapi.json"})</script>/openapi.json \xc3\xa4</html>'
)
BENT = PAGE.replace(b"/openapi.json", b"/target_openapi.json")
SCHEMA = b'{"openapi": "3.1.0", "servers": [{"url": "/openapi.json"}]}'


def test_b24_health_passes_by_the_line_also_without_redis() -> None:
    with valkey() as own, site(own) as here:
        here.gateway()  # no worker: what waits in line is not answered
        own.kill()
        for path in (b"/health", b"/health/", b"/health?deep=1"):
            here.target.answers[path.partition(b"?")[0]] = answer(b"well", b"X-From: target")
            got = here.ask(b"GET", path)
            assert (got.status, got.body, got.values(b"x-from")) == (200, b"well", [b"target"])
        assert here.ask(b"POST", b"/health", body=b"x" * 100_000).status == 200
        assert here.target.seen[-1].body == b"x" * 100_000
        assert here.ask(b"GET", b"/healthy").status == 503


def test_b24_the_setting_replaces_the_default(redis: Server) -> None:
    with site(redis, FAST_PRIORITY_PASS_THROUGH="/live,a/b/", FAST_PRIORITY_TTL="0.3") as here:
        here.gateway()
        paths = (b"/live", b"/live/", b"/a/b", b"/a/b/", b"/health", b"/a", b"/a/b/c")
        assert [here.ask(b"GET", path).status for path in paths] == [200] * 4 + [503] * 3
        assert len(here.target.seen) == 4


@pytest.mark.parametrize("path", [b"/docs", b"/redoc"])
@pytest.mark.parametrize("packed", ["", "gzip", "deflate"])
def test_b25_the_targets_pages_point_to_the_targets_schema(
    here: Site, path: bytes, packed: str
) -> None:
    packs: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
    }
    pack = packs[packed]
    lines = [b"Content-Type: text/html; charset=utf-8", b"X-Page: 1"]
    lines += [b"Content-Encoding: " + packed.encode()] if packed else []
    here.target.answers[path] = answer(pack(PAGE), *lines)
    got = here.ask(b"GET", path, b"Accept-Encoding: gzip")
    assert (got.status, got.body) == (200, BENT)
    assert got.values(b"content-type") == [b"text/html; charset=utf-8"]
    assert got.values(b"x-page") == [b"1"]
    assert got.values(b"content-encoding") == []


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_b25_the_targets_schema_comes_as_it_is(here: Site, packed: bool) -> None:  # noqa: FBT001
    lines = [b"Content-Type: application/json"] + [b"Content-Encoding: gzip"] * packed
    body = gzip.compress(SCHEMA) if packed else SCHEMA
    here.target.answers[b"/openapi.json"] = answer(body, *lines)
    got = here.ask(b"GET", b"/target_openapi.json")
    assert (got.status, got.body) == (200, body)
    assert got.values(b"content-encoding") == [b"gzip"] * packed


def test_b25_other_methods_of_these_paths_go_to_the_target(here: Site) -> None:
    for path in (b"/docs", b"/redoc", b"/openapi.json", b"/gateway_health"):
        assert here.ask(b"POST", path, body=b"1").body == b"fine"
        assert here.target.one(path).body == b"1"


def test_b26_the_gateways_own_pages(here: Site) -> None:
    for path in (b"/gateway_docs", b"/gateway_redoc"):
        got = here.ask(b"GET", path)
        assert got.status == 200
        assert b"/openapi.json" in got.body
    schema = json.loads(here.ask(b"GET", b"/openapi.json").body)
    assert "/gateway_health" in schema["paths"]
    assert here.ask(b"GET", b"/gateway_health").status == 200
    assert all(seen.target == b"/" for seen in here.target.seen)


@pytest.mark.parametrize(
    "path", [b"/gateway_health", b"/gateway_docs", b"/openapi.json", b"/docs", b"/gateway_live"]
)
def test_b26_a_page_has_a_head_too(here: Site, path: bytes) -> None:
    whole, bare = here.ask(b"GET", path), here.ask(b"HEAD", path)
    assert (bare.status, bare.body) == (whole.status, b"")
    assert bare.values(b"content-length") == whole.values(b"content-length")


def test_b26_their_paths_can_be_set(redis: Server) -> None:
    env = {
        "FAST_PRIORITY_DOC_PATH": "/own/docs",
        "FAST_PRIORITY_REDOC_PATH": "/own/redoc",
        "FAST_PRIORITY_HEALTH_PATH": "/own/health",
    }
    with site(redis, FAST_PRIORITY_TTL="0.2", **env) as here:
        here.gateway()
        assert [here.ask(b"GET", path.encode()).status for path in env.values()] == [200] * 3
        old = (b"/gateway_docs", b"/gateway_redoc", b"/gateway_health")
        assert [here.ask(b"GET", path).status for path in old] == [503] * 3  # in line, no worker


def health(here: Site) -> dict[str, object]:
    """The health page, which must be there within two seconds."""
    began = time.monotonic()
    got = here.ask(b"GET", b"/gateway_health")
    assert time.monotonic() - began < 2.0
    assert got.status == 200
    assert set(json.loads(got.body)) == {"target_reachable", "redis_reachable", "queue"}
    page: dict[str, object] = json.loads(got.body)
    return page


def test_b27_health_says_what_can_be_reached() -> None:
    empty, unknown = {"high": 0, "low": 0}, {"high": None, "low": None}
    with valkey() as own, site(own) as here:
        here.gateway()
        here.target.default = answer(b"no", status=b"503 Service Unavailable")
        assert health(here) == _page(target=True, redis=True, queue=empty)
        here.target.default = slow(5)
        assert health(here) == _page(target=False, redis=True, queue=empty)
        with own.paused():
            assert health(here) == _page(target=False, redis=False, queue=unknown)
        here.target.default = answer(b"yes")
        own.kill()
        assert health(here) == _page(target=True, redis=False, queue=unknown)


def test_b27_a_closed_port_is_not_reachable(redis: Server) -> None:
    with site(redis, FAST_PRIORITY_TARGET_BASE_URL=f"http://127.0.0.1:{free_ports(1)[0]}") as here:
        here.gateway()
        assert health(here)["target_reachable"] is False


def test_b27_a_target_that_takes_no_connection_is_not_reachable(redis: Server) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with site(redis, FAST_PRIORITY_TARGET_BASE_URL=f"http://127.0.0.1:{port}") as here:
            here.gateway()
            assert health(here)["target_reachable"] is False
        for filler in fillers:
            filler.close()


def _page(*, target: bool, redis: bool, queue: dict[str, int] | dict[str, None]) -> object:
    return {"target_reachable": target, "redis_reachable": redis, "queue": queue}
