"""What is found out about handlers when they are registered."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pyclient import ConfigError
from worker_app import Context, Worker
from worker_app.routes import kind_of, takes_context


async def coroutine(payload: Any) -> Any:
    return payload


def plain(payload: Any) -> Any:
    return payload


class AsyncCallable:
    async def __call__(self, payload: Any, ctx: Context) -> Any:
        return payload

    def method(self, payload: Any) -> Any:
        return payload

    async def async_method(self, payload: Any) -> Any:
        return payload


async def async_named_like_sync_process_thread(payload: Any) -> Any:
    return payload


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (coroutine, "async"),
        (plain, "thread"),
        (AsyncCallable(), "async"),
        (AsyncCallable().method, "thread"),
        (AsyncCallable().async_method, "async"),
        (functools.partial(coroutine), "async"),
        (functools.partial(functools.partial(AsyncCallable().async_method)), "async"),
        (functools.partial(plain), "thread"),
        (async_named_like_sync_process_thread, "async"),
        (len, "thread"),
        (lambda payload: payload, "thread"),
    ],
)
def test_the_kind_of_a_handler_is_found_by_looking(handler: Callable[..., Any], kind: str) -> None:
    assert kind_of(handler, "r") == kind


def two(payload: Any, anything: Any) -> None: ...
def with_default(payload: Any, times: int = 3) -> None: ...
def annotated(payload: Any, ctx: Context | None = None) -> None: ...
def marked(payload: Any, ctx: Context = None) -> None: ...  # type: ignore[assignment]
def starred(*args: Any, **named: Any) -> None: ...
def unresolvable(payload: Any, ctx: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (plain, False),
        (two, True),
        (with_default, False),
        (annotated, False),
        (marked, True),
        (starred, False),
        (unresolvable, True),
        (AsyncCallable(), True),
        (functools.partial(two, 1), False),
        (len, False),
    ],
)
def test_the_context_is_passed_to_those_that_take_it(
    handler: Callable[..., Any], expected: object
) -> None:
    assert takes_context(handler, "r") is expected


async def generator(payload: Any) -> AsyncIterator[int]:
    yield 1


def none_at_all() -> None: ...
def three(a: Any, b: Any, c: Any) -> None: ...
def keyword(payload: Any, *, needed: Any) -> None: ...


@pytest.mark.parametrize(
    ("handler", "options", "said"),
    [
        (generator, {}, "can't yield"),
        (none_at_all, {}, "(payload) or (payload, ctx)"),
        (three, {}, "3 arguments"),
        (keyword, {}, "2 arguments"),
        (42, {}, "expected a function"),
        (plain, {"kind": "async"}, "a plain function"),
        (coroutine, {"kind": "thread"}, "an async function"),
        (plain, {"kind": "fork"}, "expected async, thread or process"),
        (coroutine, {"kind": "process"}, "top level of a module"),
        (lambda payload: payload, {"kind": "process"}, "top level of a module"),
        (plain, {"attempts": 0}, "expected 1..255"),
        (plain, {"timeout": 0}, "expected seconds > 0"),
        (plain, {"timeout": float("nan")}, "expected seconds > 0"),
        (plain, {"concurrency": -1}, "concurrency is -1"),
        (plain, {"room": 10**7}, "room is 10000000"),
    ],
)
def test_a_handler_that_can_not_work_is_refused_at_once(
    handler: Any, options: dict[str, Any], said: str
) -> None:
    worker = Worker("q", url="unix:///nowhere")
    with pytest.raises(ConfigError) as caught:
        worker.route("r", **options)(handler)
    assert said in str(caught.value)


def test_a_route_name_that_can_not_be_carried_is_refused() -> None:
    with pytest.raises(ConfigError, match="route"):
        Worker("q").route("no spaces")(plain)


def test_a_route_has_one_handler() -> None:
    worker = Worker("q")
    assert worker.route("r")(plain) is plain
    with pytest.raises(ConfigError, match="already"):
        worker.route("r")(plain)


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"concurrency": 10_001}, {"max_level": 10}, {"prefix": "a:b"}]
)
def test_a_worker_that_can_not_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Worker("q", **options)


async def test_a_worker_without_routes_does_not_run() -> None:
    with pytest.raises(ConfigError, match="no routes"):
        await Worker("q", url="unix:///nowhere").run()
