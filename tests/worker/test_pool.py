"""Handlers that compute: processes of the pool."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pyclient import Queue, TaskDead, TaskFailed
from tests.servers import PATIENCE_S, Server
from tests.worker import handlers
from tests.worker.rig import eventually, gone, line
from worker_app import Worker


def pooled(server: Server, name: str, *, timeout: float = 30.0, **options: Any) -> Worker:
    """A worker with the computing handlers of handlers.py; a process may take long to start."""
    worker = Worker(name, url=server.url, **options)
    for route in ("compute", "compute_ctx"):
        made = handlers.worker.routes[route]
        worker.route(route, kind="process", timeout=timeout, retry_on=made.retry_on)(made.handler)
    return worker


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where handlers in other processes note their runs."""
    monkeypatch.setenv("T_FOLDER", str(tmp_path))
    return tmp_path


async def test_they_compute_elsewhere_and_side_by_side(server: Server, queue_name: str) -> None:
    async with line(server, queue_name, pooled(server, queue_name, processes=2)) as queue:
        for payload in (None, {"a": [1, b"\xff"]}, "x" * 300_000):
            assert (await queue.call("compute", payload))[0] == payload
        found = await asyncio.gather(*(queue.call("compute", n) for n in range(20)))
        assert [payload for payload, _ in found] == list(range(20))
        pids = {pid for _, pid in found}
        assert len(pids) <= 2
        assert os.getpid() not in pids
    await eventually(lambda: all(gone(pid) for pid in pids))


async def test_the_loop_is_free_while_they_compute(
    server: Server, queue_name: str, noted: Path
) -> None:
    worker = pooled(server, queue_name, timeout=2.0, processes=1)

    @worker.route("echo")
    async def echo(payload: Any) -> Any:
        return payload

    async with line(server, queue_name, worker) as queue:
        await queue.call("compute")  # its process is up
        spinning = asyncio.create_task(queue.call("compute_ctx", "spin"))
        await eventually(lambda: (noted / "ran").exists())
        began = time.monotonic()
        assert await queue.call("echo", 1) == 1
        assert time.monotonic() - began < 0.3
        with pytest.raises(TaskFailed, match="timed out after 2 s"):
            await spinning
        # The process that span is gone, the next one works.
        assert (await queue.call("compute", 5))[0] == 5


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("raise", "ValueError: boom"),
        ("exit", "SystemExit: 4"),
        ("die", "its process ended: exit code 7"),
        ("segfault", "its process ended: killed by SIGSEGV"),
    ],
)
async def test_what_goes_wrong_there_is_told(
    server: Server, queue_name: str, noted: Path, payload: str, said: str
) -> None:
    async with line(server, queue_name, pooled(server, queue_name)) as queue:
        with pytest.raises(TaskFailed) as caught:
            await queue.call("compute_ctx", payload)
        assert str(caught.value) == said
        task = await queue.submit("compute_ctx", 5)
        assert await task.result() == [5, task.id, 1, None, True]


async def test_errors_of_the_route_are_retried(
    server: Server, queue_name: str, noted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_app.failures.random.uniform", lambda low, high: 0.0)
    async with line(server, queue_name, pooled(server, queue_name)) as queue:
        with pytest.raises(TaskDead, match="KeyError: 'again'"):
            await queue.call("compute_ctx", "again")
    runs = (noted / "ran").read_text().splitlines()
    assert [run.split()[1] for run in runs] == ["1", "2", "3"]


async def test_an_idle_process_that_died_is_replaced(server: Server, queue_name: str) -> None:
    async with line(server, queue_name, pooled(server, queue_name, processes=1)) as queue:
        pid = (await queue.call("compute"))[1]
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: gone(pid))
        assert (await queue.call("compute"))[1] != pid


async def test_what_waits_for_a_process_is_handed_back_uncounted(
    server: Server, queue_name: str, noted: Path
) -> None:
    worker = pooled(server, queue_name, timeout=3.0, processes=1)
    async with Queue.from_url(server.url, name=queue_name) as queue:
        running = asyncio.create_task(worker.run())
        tickets = await queue.submit_many("compute_ctx", ["spin", 1, 2])
        await eventually(lambda: (noted / "ran").exists())
        worker.stop()
        await asyncio.wait_for(running, PATIENCE_S)
        assert (await queue.gauge())["waiting"] == 2
        async with line(server, queue_name, worker):
            assert (await tickets[1].result())[2] == 1
            assert (await tickets[2].result())[2] == 1
