"""How a node ends: cancelled, by a signal, in a program with handlers of its own, in a thread."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server

from .rig import site, until
from .seed import QueueWorker


async def test_a_cancelled_node_finishes_its_work(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        node = QueueWorker(at.client, 1, {"/x": 3})

        async def work(redis: object, mysql: object) -> str:
            serving.cancel()
            await asyncio.sleep(0.2)
            return "done"

        node.method_register("/x", work)
        serving = asyncio.create_task(node.run_serve())
        await at.ready("/x")
        begun = time.monotonic()
        assert await at.call("/x") == (True, "done")
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert time.monotonic() - begun < 3


async def test_a_program_with_a_handler_of_its_own_keeps_it(server: Server, tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        async with site(server, tmp_path) as at:
            node = QueueWorker(at.client, 1, {"/x": 3}, None, True)
            serving = asyncio.create_task(node.run_serve())
            await at.ready("/x")
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: heard, what="the program's own handler")
            assert (heard, node.handles_sigterm, node.closeing()) == ([15], False, False)
            await node.close()
            await serving
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: heard == [15, 15], what="the handler, left in its place")
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_node_may_serve_in_a_thread_without_a_signal(
    server: Server, tmp_path: Path
) -> None:
    node = QueueWorker(server.url, 1, {"/x": 3}, None, True)

    async def last(redis: object, mysql: object) -> str:
        await node.close()
        return "done"

    async def serve() -> None:
        await node.run_serve()

    node.method_register("/x", last)
    async with site(server, tmp_path) as at:
        serving = asyncio.create_task(asyncio.to_thread(asyncio.run, serve()))
        await at.ready("/x")
        assert await at.call("/x") == (True, "done")
        await serving
    assert not node.handles_sigterm


async def test_a_node_told_to_stop_while_it_starts_serves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site(server, tmp_path) as at:
        node = QueueWorker(at.client, 1, {"/x": 3})
        make = node._make_worker

        def interrupted() -> Any:
            node.graceful_shutdown(signal.SIGINT)  # as a handler of `signal.signal` does
            return make()

        monkeypatch.setattr(node, "_make_worker", interrupted)
        async with asyncio.timeout(20):
            await node.run_serve()
