"""The thread that keeps things alive: its jobs, its errors, its end."""

from __future__ import annotations

import asyncio
import logging
import random
import subprocess
import sys
import threading
import time

import pytest

from pyclient.connection import Connection
from pyclient.errors import Unavailable
from pyclient.keeper import Keeper, call_soon
from tests.servers import Server, until


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "peak-keeper"]


class Job:
    """Notes when it ran; answers in turn, at the end with a pause of 10 ms."""

    def __init__(self, *ends: object) -> None:
        self.ends = list(ends)
        self.at: list[float] = []

    async def __call__(self, conn: Connection) -> float | None:
        self.at.append(time.monotonic())
        end = self.ends.pop(0) if self.ends else 0.01
        if isinstance(end, Exception):
            raise end
        assert end is None or isinstance(end, float)
        return end


def test_a_job_runs_at_once_and_when_it_asks_for(server: Server) -> None:
    keeper, job = Keeper(server.url), Job(0.1)
    keeper.add(job)
    until(lambda: len(job.at) >= 3, timeout=2)
    keeper.stop()
    assert job.at[1] - job.at[0] >= 0.1
    ran = len(job.at)
    time.sleep(0.05)
    assert len(job.at) == ran
    assert threads() == []


def test_it_runs_while_this_thread_does_not(server: Server) -> None:
    keeper, job = Keeper(server.url), Job()
    keeper.add(job)
    until(lambda: job.at)
    seen, end = len(job.at), time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    keeper.stop()
    assert len(job.at) > seen


def test_a_job_gets_an_open_connection(server: Server) -> None:
    got: list[object] = []

    async def job(conn: Connection) -> float | None:
        got.append(await conn.command(b"PING"))
        return None

    keeper = Keeper(server.url)
    keeper.add(job)
    until(lambda: got)
    assert got == [b"PONG"]
    keeper.stop()


@pytest.mark.parametrize("error", [Unavailable("away"), ValueError("a bug")], ids=repr)
def test_an_error_is_logged_and_the_job_runs_again(
    server: Server,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyclient.keeper._RETRY_S", 0.01)
    keeper, job = Keeper(server.url), Job(error, error)
    with caplog.at_level(logging.WARNING):
        keeper.add(job)
        until(lambda: len(job.at) >= 3)
    keeper.stop()
    assert len(caplog.records) == (1 if isinstance(error, Unavailable) else 2)
    assert "can't keep alive" in caplog.text


def test_without_redis_it_tries_until_there_is_one(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyclient.keeper._RETRY_S", 0.02)
    server.stop()
    keeper, job = Keeper(server.url), Job()
    keeper.add(job)
    time.sleep(0.1)
    assert job.at == []
    server.start()
    until(lambda: job.at, timeout=8)
    keeper.stop()


def test_a_removed_job_runs_no_more_and_others_do(server: Server) -> None:
    keeper, one, other = Keeper(server.url), Job(), Job()
    keeper.remove(one)  # unknown: ignored
    keeper.add(one)
    keeper.add(one)  # once is enough
    keeper.add(other)
    until(lambda: one.at and other.at)
    keeper.remove(one)
    keeper.remove(Job())
    until(lambda: len(other.at) > 5)
    ran, seen = len(one.at), len(other.at)
    until(lambda: len(other.at) > seen + 3)
    assert len(one.at) <= ran + 1
    keeper.stop()


def test_soon_is_before_its_time(server: Server) -> None:
    keeper, job = Keeper(server.url), Job(60.0)
    keeper.add(job)
    until(lambda: job.at)
    keeper.soon(job)
    until(lambda: len(job.at) >= 2)
    keeper.stop()


def test_the_thread_ends_with_the_last_job_and_begins_with_the_next(server: Server) -> None:
    keeper = Keeper(server.url)
    keeper.add(Job(None))
    until(lambda: threads() == [])
    job = Job()
    keeper.add(job)
    until(lambda: job.at)
    keeper.stop()
    keeper.stop()  # a second time: nothing
    keeper.remove(job)
    assert threads() == []


def test_a_job_that_comes_while_the_thread_ends_runs_as_well(server: Server) -> None:
    keeper, pause = Keeper(server.url), random.Random(1)
    for _ in range(300):
        job = Job(None)
        keeper.add(job)
        until(lambda job=job: job.at)  # type: ignore[misc]
        if pause.random() < 0.7:
            time.sleep(pause.random() * 0.001)  # about as long as a thread takes to end
    keeper.stop()
    assert threads() == []


@pytest.mark.parametrize("how", ["add", "soon"])
def test_a_job_that_is_asked_for_while_it_ends_runs_again(server: Server, how: str) -> None:
    keeper = Keeper(server.url)
    ran: list[int] = []

    async def job(conn: Connection) -> float | None:
        ran.append(len(ran))
        if len(ran) == 1:
            getattr(keeper, how)(job)
            return None
        return 60.0

    keeper.add(job)
    until(lambda: len(ran) == 2)
    keeper.stop()


def test_a_job_that_is_asked_for_while_it_connects_runs_all_the_same(server: Server) -> None:
    for turn in range(20):
        keeper, one, other = Keeper(server.url), Job(), Job()
        keeper.add(one)
        keeper.add(other)
        time.sleep(turn / 20_000)  # about as long as it takes to connect
        keeper.soon(one)
        keeper.soon(other)
        until(lambda one=one, other=other: len(one.at) > 2 and len(other.at) > 2)  # type: ignore[misc]
        keeper.stop()
    assert threads() == []


def test_stopping_after_the_last_job_has_done_is_no_error(server: Server) -> None:
    keeper = Keeper(server.url)
    keeper.add(Job(None))
    until(lambda: threads() == [])
    keeper.stop()


def test_a_thread_that_can_not_start_is_an_error_and_the_next_try_works(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, job = Keeper(server.url), Job()

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            keeper.add(job)
    keeper.add(job)
    until(lambda: job.at)
    keeper.stop()


def test_a_call_to_a_loop_that_has_ended_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_soon(loop, print, "never")


def test_it_holds_no_process_open(server: Server) -> None:
    program = (
        "import sys, time\n"
        "from pyclient.keeper import Keeper\n"
        "async def job(conn): return 60.0\n"
        "Keeper(sys.argv[1]).add(job)\n"
        "time.sleep(0.3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, server.url], timeout=20, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_job_that_was_removed_ends_before_the_thread(server: Server) -> None:
    begun, done = threading.Event(), threading.Event()

    async def job(conn: Connection) -> float | None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            done.set()
        return None

    keeper = Keeper(server.url)
    keeper.add(job)
    assert begun.wait(5)
    keeper.remove(job)
    keeper.stop()
    assert done.is_set()
