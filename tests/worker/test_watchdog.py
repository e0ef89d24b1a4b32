"""What ends a process that does not work any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pyclient import Queue
from pyclient.http import envelope
from tests.http.rawserver import answer, serve
from tests.http.test_client import says
from tests.servers import Server
from tests.worker.rig import command, echo, eventually, gone, line, line_count
from worker_app import Worker
from worker_app.logs import BURST, JsonFormatter, Sparing
from worker_app.session import STALL_S


async def test_an_event_loop_blocked_past_the_deadline_has_its_process_replaced(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=1.0)
        with command(server, queue_name, tmp_path) as worker:
            before = (await queue.call("state"))[4]
            await queue.submit("block", 60, timeout=1.0, keep=1)
            await eventually(lambda: line_count(tmp_path) >= 1)
            await eventually(lambda: gone(before), timeout=10)
            assert "blocks the event loop" in worker.output
            assert (await queue.call("state", timeout=20))[4] != before
            assert await asyncio.to_thread(worker.end) == 0


async def test_a_loop_that_stands_still_is_noticed(server: Server, queue_name: str) -> None:
    worker = echo(server, queue_name)
    async with line(server, queue_name, worker) as queue:
        await queue.call("echo")
        session = worker.session
        assert session is not None
        now = time.monotonic()
        assert session.ailment(now) == ("", False)
        session.loop.progress = now - STALL_S - 1
        assert "claim loop" in session.ailment(now)[0]
        assert "event loop is blocked" in session.ailment(now + STALL_S + 1)[0]


async def test_a_lifespan_that_takes_its_time_to_end_is_no_ailment(
    server: Server, queue_name: str
) -> None:
    found: list[tuple[str, bool]] = []

    @asynccontextmanager
    async def lifespan(worker: Worker) -> AsyncIterator[None]:
        yield
        found.append(worker.ailment(time.monotonic() + STALL_S + 1))

    async with line(server, queue_name, echo(server, queue_name, lifespan=lifespan)) as queue:
        await queue.call("echo")
    assert found == [("", False)]


async def test_the_built_in_route_forwards_requests(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with serve(says(answer(b"hi"))) as target:
        request = envelope.write_request(
            method="POST",
            target=b"/a?b",
            base=target.target.base,
            head=b"x-a: 1\r\n",
            body=b"abc",
            has_host=False,
            framed=True,
        )
        # No module:worker; the name of the queue and the rest come from the environment.
        with command(
            server,
            queue_name,
            tmp_path,
            "-p",
            "2",
            PEAK_REDIS_URL=server.url,
            PEAK_QUEUE=queue_name,
            FAST_PRIORITY_TARGET_BASE_URL=str(target.target),
        ) as worker:
            async with Queue.from_url(server.url, name=queue_name) as queue:
                data = await queue.exchange("http", request, wait_ms=9000, run_ms=9000)
            found = envelope.read_answer(data)
            assert (found.status, found.body) == (200, b"hi")
            assert await asyncio.to_thread(worker.end) == 0


def record(message: str, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    """A log record."""
    return logging.LogRecord("x", level, "f", 1, message, args, None)


def test_a_flood_of_one_kind_is_held_back_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sparing = Sparing()
    assert sum(sparing.filter(record("route %s: %s", "a", n)) for n in range(100)) == BURST
    assert sparing.filter(record("route %s: %s", "b", 1))
    assert sparing.filter(record("route %s: %s", "a", 1, level=logging.CRITICAL))
    now += 11
    later = record("route %s: %s", "a", 1)
    assert sparing.filter(later)
    assert later.getMessage() == f"route a: 1 (and {100 - BURST} more like it before)"


def test_a_json_line_holds_the_error_too() -> None:
    try:
        raise ValueError("boom\n2")
    except ValueError as error:
        made = record("it %s", "failed")
        made.exc_info = (type(error), error, error.__traceback__)
    line_ = JsonFormatter().format(made)
    assert "\n" not in line_
    assert '"message": "it failed"' in line_
    assert "ValueError: boom" in line_
