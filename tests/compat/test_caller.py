"""How a node calls a function, and what it makes of whatever comes of that."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .rig import until
from .seed import Caller

MARK = "fastapi_queue"
WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = Caller(2)
    yield made
    made.close()


class Leaving(Exception):
    """Ends the program where its text is asked for."""

    def __str__(self) -> str:
        raise SystemExit(4)


def leaving(redis: Any, mysql: Any) -> None:
    raise Leaving


def at_its_end(redis: Any, mysql: Any) -> None:
    raise StopIteration(7)


async def at_its_end_too(redis: Any, mysql: Any) -> None:
    raise StopIteration(7)


def half_a_pair(redis: Any, mysql: Any) -> None:
    raise ValueError("\ud800 ä")


def echo(redis: Any, mysql: Any, **form: Any) -> Any:
    return form


def odd(redis: Any, mysql: Any) -> object:
    return object()


ERRORS: dict[str, tuple[Callable[..., Any] | None, Any, str]] = {
    "no function": (None, {}, "<class 'LookupError'>:no function is registered"),
    "a form that is no dict": (
        echo,
        [1],
        "<class 'TypeError'>:form_data is list, expected a dict",
    ),
    "a name that is no text": (echo, {1: 2}, "<class 'TypeError'>:keywords must be strings"),
    "a result that can't travel": (odd, {}, "<class 'pyclient.errors.BadPayload'>:the result"),
    "the end of an iterator": (at_its_end, {}, "<class 'RuntimeError'>:StopIteration: 7"),
    "the same, awaited": (at_its_end_too, {}, "<class 'RuntimeError'>:coroutine raised Stop"),
    "text that is no Unicode": (half_a_pair, {}, "<class 'ValueError'>:\\ud800 ä"),
    "text that ends the program": (leaving, {}, f"{Leaving}:(its text can't be had)"),
}


@pytest.mark.parametrize("name", sorted(ERRORS))
async def test_what_goes_wrong_is_told_as_text(caller: Caller, name: str) -> None:
    function, form, text = ERRORS[name]
    (ok, said), *more = (await caller.call(function, None, None, form)).values()
    assert (ok, more) == (False, [])
    assert said.startswith(text)


async def test_of_a_long_text_the_beginning_is_told(caller: Caller) -> None:
    def much(redis: Any, mysql: Any) -> None:
        raise ValueError("\udfff" * 3_000_000)

    ok, said = (await caller.call(much, None, None, {}))[MARK]
    assert not ok
    assert said.startswith("<class 'ValueError'>:\\udfff\\udfff")
    assert len(said) < 1_000_000


async def test_a_function_that_would_block_sees_the_context_of_its_task(caller: Caller) -> None:
    def who(redis: Any, mysql: Any) -> list[Any]:
        return [WHO.get(), threading.current_thread() is threading.main_thread(), redis, mysql]

    WHO.set("me")
    assert await caller.call(who, "r", "m", {}) == {MARK: [True, ["me", False, "r", "m"]]}


async def test_a_call_that_is_cancelled_ends_and_one_that_cancels_itself_is_told(
    caller: Caller,
) -> None:
    begun = asyncio.Event()

    async def endless(redis: Any, mysql: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def gives_up(redis: Any, mysql: Any) -> None:
        raise asyncio.CancelledError("its own")

    call = asyncio.create_task(caller.call(endless, None, None, {}))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    ok, said = (await caller.call(gives_up, None, None, {}))[MARK]
    assert (ok, said) == (False, "<class 'asyncio.exceptions.CancelledError'>:its own")


async def test_a_closed_caller_finishes_what_runs_and_begins_nothing(caller: Caller) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def waits(redis: Any, mysql: Any) -> bool:
        begun.set()
        return go_on.wait(60)

    call = asyncio.create_task(caller.call(waits, None, None, {}))
    await until(begun.is_set, what="its beginning")
    caller.close()
    ok, said = (await caller.call(waits, None, None, {}))[MARK]
    assert (ok, said[:23]) == (False, "<class 'RuntimeError'>:")
    go_on.set()
    assert await call == {MARK: [True, True]}
