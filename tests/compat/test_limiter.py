"""The gateway's own buckets: A34 to A38."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from .seed import RateLimiter


@pytest.fixture(autouse=True)
def _global_bucket() -> Iterator[None]:
    before = RateLimiter._global
    yield
    RateLimiter._global = before


def limited(name: str, **options: float) -> Any:
    async def handler(request: Request, q: int = 0) -> dict[str, int]:
        return {"q": q}

    handler.__name__ = name
    return RateLimiter(**options)(handler)  # type: ignore[arg-type]


async def statuses(app: FastAPI, path: str, count: int) -> list[int]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answers = await asyncio.gather(*[http.get(f"{path}?q={n}") for n in range(count)])
    for answer in answers:
        if answer.status_code == 503:
            assert answer.text == '"Service Temporarily Unavailable"'
        else:
            assert "q" in answer.json()
    return sorted(answer.status_code for answer in answers)


async def test_a34_a_bucket_lets_so_many_through_and_fills_again() -> None:
    app = FastAPI()
    app.get("/")(limited("root", bucket=4, limits_s=2))
    assert await statuses(app, "/", 6) == [200] * 4 + [503] * 2
    await asyncio.sleep(1.1)
    assert await statuses(app, "/", 4) == [200] * 2 + [503] * 2


async def test_a35_the_start_of_the_readme_raises_nothing() -> None:
    RateLimiter().porter_run_serve()
    RateLimiter(bucket=5, limits_s=1).porter_run_serve()


async def test_a36_handlers_of_one_name_have_buckets_of_their_own() -> None:
    app = FastAPI()
    app.get("/a")(limited("same", bucket=3, limits_s=0.01))
    app.get("/b")(limited("same", bucket=1, limits_s=0.01))
    assert await statuses(app, "/a", 4) == [200] * 3 + [503]
    assert await statuses(app, "/b", 2) == [200, 503]


async def test_a37_a_handler_that_is_decorated_late_fills_too() -> None:
    RateLimiter().porter_run_serve()
    await asyncio.sleep(0.05)
    app = FastAPI()
    app.get("/")(limited("late", bucket=1, limits_s=5))
    assert await statuses(app, "/", 2) == [200, 503]
    await asyncio.sleep(0.3)
    assert await statuses(app, "/", 1) == [200]


async def test_a38_the_bucket_of_all_can_be_changed_and_switched_off() -> None:
    app = FastAPI()
    app.get("/a")(limited("a", bucket=50, limits_s=0.01))
    app.get("/b")(limited("b", bucket=50, limits_s=0.01))
    RateLimiter.configure_global(bucket=3, limits_s=0.01)
    assert await statuses(app, "/a", 2) == [200] * 2
    assert await statuses(app, "/b", 2) == [200, 503]
    RateLimiter.configure_global(bucket=None, limits_s=None)
    # What the shared bucket refused was not taken from the handler's own.
    assert await statuses(app, "/b", 50) == [200] * 49 + [503]


@pytest.mark.parametrize("options", [{"bucket": 1}, {"limits_s": 1}])
def test_half_a_bucket_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="both"):
        RateLimiter(**options)
    with pytest.raises(ValueError, match="both"):
        RateLimiter.configure_global(**{"bucket": None, "limits_s": None, **options})


def test_a_plain_handler_may_be_limited_too() -> None:
    @RateLimiter(1, 0.01)
    def handler(x: int) -> int:
        return x + 1

    assert handler(1) == 2
    assert handler(1).status_code == 503  # type: ignore[attr-defined]
