"""B48: what the tests of fast-priority's own repository ask for, asked of our gateway.

Its repository has 22. Eleven compare answers through a gateway with those of the API itself; they
are black-box and stand here in words of our own: six GETs, two POSTs, the two documentation pages
and the schema. The other eleven call two functions of its package (`generate_enpoint_list` eight
times, `normalize_paths` three times), which is no way in that a user has. What these functions are
for is a setting, so here the like is given as a setting, and the health page tells what it matched;
and `pyclient.compat.fast_priority` has them under their names: see tests/compat/test_helpers.py.
(On 2026-11-26 the 22 themselves passed against a gateway and a worker of ours, that module standing
in for `fast_priority.utils`.)
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.apps.acceptance.rawclient import connected, request
from tests.apps.acceptance.rig import Site, site
from tests.servers import Server, free_ports, until


class Both:
    """An API, and the same behind the line."""

    def __init__(self, direct: int, gateway: int) -> None:
        self.direct = httpx.Client(base_url=f"http://127.0.0.1:{direct}", trust_env=False)
        self.gateway = httpx.Client(base_url=f"http://127.0.0.1:{gateway}", trust_env=False)

    def ask(self, method: str, path: str, **more: object) -> tuple[httpx.Response, httpx.Response]:
        return (
            self.direct.request(method, path, **more),  # type: ignore[arg-type]
            self.gateway.request(method, path, **more),  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def both(redis: Server) -> Iterator[Both]:
    port = free_ports(1)[0]
    url = f"http://127.0.0.1:{port}"
    with site(redis, FAST_PRIORITY_TARGET_BASE_URL=url) as here:
        words = ("tests.apps.seed_target:app", "--port", str(port), "--log-level", "warning")
        here.start("uvicorn", *words)
        here.worker(1, 1, wait=False)
        gateway = here.gateway()
        until(lambda: here.ask(b"GET", b"/fails/?code=418").status == 418, what="the API")
        pair = Both(port, gateway.port)
        yield pair
        pair.direct.close()
        pair.gateway.close()


def same(direct: httpx.Response, gateway: httpx.Response, status: int) -> None:
    assert gateway.status_code == direct.status_code == status
    assert gateway.content == direct.content
    assert gateway.headers.keys() == direct.headers.keys()
    for name in set(direct.headers) - {"date"}:
        assert gateway.headers[name] == direct.headers[name]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/articles?limit=3&like=cup", 200),
        ("/prices?limit=4&factor=0.5", 200),
        ("/stock/articles?limit=2&like=a%26b", 200),
        ("/fails/?code=500", 500),
        ("/fails/?code=404", 404),
        ("/articles?limit=x&like=cup", 422),
    ],
)
def test_a_get_is_answered_as_by_the_api_itself(both: Both, path: str, status: int) -> None:
    same(*both.ask("GET", path), status)


@pytest.mark.parametrize(
    ("data", "status"),
    [({"article": "cup", "count": 2}, 201), ({"article": "cup", "count": 0}, 422)],
    ids=["valid", "not valid"],
)
def test_a_post_is_answered_as_by_the_api_itself(
    both: Both, data: dict[str, object], status: int
) -> None:
    same(*both.ask("POST", "/orders/", json=data), status)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_documentation_page_differs_in_the_address_of_the_schema(both: Both, path: str) -> None:
    direct, gateway = both.ask("GET", path)
    assert gateway.text != direct.text
    assert gateway.text == direct.text.replace("/openapi.json", "/target_openapi.json")
    assert gateway.headers["content-type"] == direct.headers["content-type"]


def test_the_schema_is_the_apis_own(both: Both) -> None:
    direct = both.direct.get("/openapi.json")
    assert both.gateway.get("/target_openapi.json").content == direct.content
    assert (
        both.gateway.get("/openapi.json").json()["info"]["title"] != direct.json()["info"]["title"]
    )


# A comma list, then paths that it holds and paths that it doesn't.
LISTS = [
    (" , , , ", [], ["/aaa", "/,"]),
    ("aaa  , bbb ", ["/aaa", "/bbb"], ["/aaa%20%20", "/%20bbb", "/aaa,bbb"]),
    ("aaa/, bbb", ["/aaa", "/aaa/", "/bbb", "/bbb/"], ["/aaa//", "/aa", "/aaaa", "/,"]),
]


@pytest.mark.parametrize(("text", "held", "others"), LISTS)
def test_a_comma_list_means_what_it_meant(
    redis: Server, text: str, held: list[str], others: list[str]
) -> None:
    with site(redis, FAST_PRIORITY_HIGH_PRIO_PATHS="listed") as here:
        here.gateway(FAST_PRIORITY_PRIO_PATHS=text)
        assert [_is_high(here, path) for path in held] == [True] * len(held)
        assert [_is_high(here, path) for path in others] == [False] * len(others)


def _is_high(here: Site, path: str) -> bool:
    """Asked without a worker, the request waits, and the health page counts it."""
    with connected(here.port) as client:
        client.send(request(b"GET", path.encode()))
        here.waiting(1)
        high = bool(here.gauge()["queue"]["high"])
    here.waiting(0)
    return high


def test_the_documented_address_of_the_app_serves_too(redis: Server) -> None:
    """The README of fast-priority starts the gateway by `fastapi run …app.py`; any ASGI server
    that is told `gateway_app.app:app` does."""
    port = free_ports(1)[0]
    with site(redis) as here:
        here.start("uvicorn", "gateway_app.app:app", "--port", str(port))
        here.worker(wait=False)
        here.port = port
        until(lambda: here.ask(b"GET", b"/gateway_live").status == 200, what="the gateway")
        got = here.ask(b"GET", b"/x%2Fy?q=%26")
        assert (got.status, got.body) == (200, b"fine")
        assert here.target.seen[0].target == b"/x%2Fy?q=%26"
        assert (len(got.values(b"date")), len(got.values(b"server"))) == (1, 1)
