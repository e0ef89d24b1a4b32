"""An outcome that the scripts refuse: it must hurt nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pyclient.errors import PeakError, ScriptError
from tests.servers import Server
from tests.worker.rig import eventually, line
from worker_app import Worker


@pytest.mark.leaves_keys  # the refused one runs until its lease ends
async def test_an_outcome_that_is_refused_takes_no_other_along(
    server: Server, queue_name: str
) -> None:
    worker = Worker(queue_name, url=server.url)
    go_on, began = asyncio.Event(), list[str]()

    @worker.route("echo")
    async def echo(payload: str) -> str:
        began.append(payload)
        await go_on.wait()
        return payload

    async with line(server, queue_name, worker) as queue:
        calls = [asyncio.create_task(queue.call("echo", x, timeout=3)) for x in ("a", "bad", "b")]
        await eventually(lambda: len(began) == 3)
        assert worker.session is not None
        commands = worker.session.loop._commands
        publish, batches = commands.publish, list[int]()

        async def refusing(*args: Any, **options: Any) -> Any:
            outcomes: Sequence[tuple[str, int, str, bytes]] = args[4]
            batches.append(len(outcomes))
            if any(b"bad" in outcome[3] for outcome in outcomes):
                raise ScriptError("BADARG", "body: no such luck")
            return await publish(*args, **options)

        commands.publish = refusing  # type: ignore[method-assign]
        go_on.set()
        assert await calls[0] == "a"
        assert await calls[2] == "b"
        assert batches == [3, 1, 1, 1]
        with pytest.raises(PeakError):
            await calls[1]
