"""Handlers that raise, exit, or return what can't be carried."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pyclient import TaskFailed
from tests.servers import Server
from tests.worker.rig import line
from worker_app import Worker


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Leaving(Exception):
    def __str__(self) -> str:
        raise SystemExit(4)


async def boom(payload: Any) -> None:
    raise ValueError("boom")


def thread(payload: Any) -> None:
    raise ZeroDivisionError


async def broken(payload: Any) -> None:
    raise Broken


async def leaving(payload: Any) -> None:
    raise Leaving


async def leave(payload: Any) -> None:
    sys.exit(3)


def thread_leave(payload: Any) -> None:
    sys.exit(3)


async def interrupt(payload: Any) -> None:
    raise KeyboardInterrupt


async def memory(payload: Any) -> None:
    raise MemoryError("none left")


async def deep(payload: Any) -> None:
    await deep(payload)


def stop_iteration(payload: Any) -> None:
    raise StopIteration(5)


async def cancel(payload: Any) -> None:
    raise asyncio.CancelledError("its own")


async def surrogate(payload: Any) -> None:
    raise ValueError("\ud800")


async def long(payload: Any) -> None:
    raise ValueError("x" * 100_000)


async def huge_int(payload: Any) -> Any:
    return 2**200


def an_object(payload: Any) -> Any:
    return object()


async def big(payload: Any) -> Any:
    return b"x" * (11 << 20)


FAILURES: list[tuple[Callable[[Any], Any], str]] = [
    (boom, "ValueError: boom"),
    (thread, "ZeroDivisionError"),
    (broken, "Broken: (its text can't be had)"),
    (leaving, "Leaving: (its text can't be had)"),
    (leave, "SystemExit: 3"),
    (thread_leave, "SystemExit: 3"),
    (interrupt, "KeyboardInterrupt"),
    (memory, "MemoryError: none left"),
    (deep, "RecursionError: "),
    (stop_iteration, "RuntimeError: StopIteration: 5"),
    (cancel, "CancelledError: its own"),
    (surrogate, "ValueError: \\ud800"),
    (long, "ValueError: xxxxx"),
    (huge_int, "BadPayload: result "),
    (an_object, "BadPayload: result of type object"),
    (big, "BadPayload: the result has 11534"),
]


async def test_a_handler_that_fails_ends_its_task_with_the_reason_and_nothing_else(
    server: Server, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The captured log of this test would hold a lone surrogate, which no report can carry.
    caplog.set_level(logging.CRITICAL, logger="worker_app.desk")
    worker = Worker(queue_name, url=server.url)
    for handler, _ in FAILURES:
        worker.route(handler.__name__)(handler)

    @worker.route("fine")
    async def fine(payload: Any) -> Any:
        return payload

    async with line(server, queue_name, worker) as queue:
        for handler, text in FAILURES:
            with pytest.raises(TaskFailed) as caught:
                await queue.call(handler.__name__, timeout=5)
            assert str(caught.value).startswith(text)
            assert len(str(caught.value)) <= 4000
        assert await queue.call("fine", 7) == 7
