"""Numbered calls: one in flight, sent again under its number until the reply is known."""

from __future__ import annotations

import asyncio

import pytest

from pyclient.errors import ScriptError, Unavailable
from pyclient.numbered import NumberedCaller

UNKNOWN = Unavailable("the link broke", code="CUT", unknown=True)


class Script:
    """Answers calls in turn with what it was given; notes their numbers."""

    def __init__(self, *ends: object) -> None:
        self.ends = list(ends)
        self.numbers: list[int] = []
        self.busy = 0

    async def __call__(self, number: int) -> object:
        assert self.busy == 0, "two calls in flight"
        self.busy += 1
        self.numbers.append(number)
        await asyncio.sleep(0)
        self.busy -= 1
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


async def test_each_call_has_the_next_number() -> None:
    caller, script = NumberedCaller(), Script("a", "b", "c")
    assert [await caller.run(script) for _ in range(3)] == ["a", "b", "c"]
    assert script.numbers == [1, 2, 3]


async def test_concurrent_calls_go_one_after_the_other() -> None:
    caller, script = NumberedCaller(), Script(*range(20))
    assert sorted(await asyncio.gather(*(caller.run(script) for _ in range(20)))) == list(range(20))  # type: ignore[type-var]
    assert script.numbers == list(range(1, 21))


async def test_an_unknown_call_is_sent_again_under_the_same_number() -> None:
    caller, script = NumberedCaller(), Script(UNKNOWN, UNKNOWN, "a", "b")
    assert await caller.run(script) == "a"
    assert await caller.run(script) == "b"
    assert script.numbers == [1, 1, 1, 2]


async def test_a_refusal_after_an_unknown_try_says_nothing_about_it() -> None:
    caller = NumberedCaller()
    script = Script(UNKNOWN, Unavailable("full", code="OOM"), "a")
    assert await caller.run(script) == "a"
    assert script.numbers == [1, 1, 1]


async def test_what_surely_did_not_run_is_raised_at_once() -> None:
    caller, script = NumberedCaller(), Script(Unavailable("full", code="OOM"), "a")
    with pytest.raises(Unavailable, match="full") as caught:
        await caller.run(script)
    assert not caught.value.unknown
    assert await caller.run(script) == "a"
    assert script.numbers == [1, 2]


async def test_after_a_call_that_was_given_up_the_number_rises() -> None:
    caller, script = NumberedCaller(), Script(UNKNOWN, UNKNOWN, "a")
    with pytest.raises(Unavailable):
        await caller.run(script, patience=0)
    assert await caller.run(script) == "a"
    assert script.numbers == [1, 1, 2]


async def test_patience_ends_and_says_that_the_call_may_have_run() -> None:
    caller = NumberedCaller()
    script = Script(UNKNOWN, *[Unavailable("away", code="TIMEOUT")] * 50, "never")
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable, match="away") as caught:
        await caller.run(script, patience=0.2)
    assert asyncio.get_running_loop().time() - began < 1
    assert caught.value.unknown
    assert caught.value.code == "TIMEOUT"
    assert set(script.numbers) == {1}


async def test_other_errors_are_raised_and_the_next_call_goes_on() -> None:
    caller, script = NumberedCaller(), Script(ScriptError("BADARG", "x"), ValueError("y"), "a")
    with pytest.raises(ScriptError):
        await caller.run(script)
    with pytest.raises(ValueError, match="y"):
        await caller.run(script)
    assert await caller.run(script) == "a"


async def test_a_cancelled_call_leaves_the_caller_usable() -> None:
    caller, never = NumberedCaller(), asyncio.Event()

    async def hang(number: int) -> None:
        await never.wait()

    call = asyncio.create_task(caller.run(hang))
    behind = asyncio.create_task(caller.run(Script("b")))
    await asyncio.sleep(0.01)
    call.cancel()
    assert await behind == "b"
    script = Script("a")
    assert await caller.run(script) == "a"
    assert script.numbers == [3]


async def test_a_try_that_took_all_the_patience_is_followed_by_another() -> None:
    caller, script = NumberedCaller(), Script(UNKNOWN, "a")
    assert await caller.run(script, patience=0) == "a"
    script.ends = [UNKNOWN, UNKNOWN, "never"]
    with pytest.raises(Unavailable):
        await caller.run(script, patience=0)
    assert script.numbers == [1, 1, 2, 2]
