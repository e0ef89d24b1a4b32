"""No child outlives its family, however the owner goes."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest

from pyclient.demo.family import Child, ChildEnded, Family
from tests.demo.support import Running
from tests.servers import until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN_CODE = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(60)"
)
STUBBORN = [sys.executable, "-c", STUBBORN_CODE]
PARENT_CODE = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; "
    "time.sleep(60)']); print('up', flush=True); time.sleep(60)"
)
PARENT = [sys.executable, "-c", PARENT_CODE]
OWNER = f"""
import asyncio, sys
from pyclient.demo.family import Family

async def main():
    async with Family() as family:
        await family.start("sleeper", {SLEEP!r})
        await family.start("second", sys.argv[1:])
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_leaving_ends_all_and_removes_the_directory() -> None:
    async with Family() as family:
        child = await family.start("sleeper", SLEEP)
        home = family.home
        assert child.running
    assert child.process.returncode == -signal.SIGTERM
    assert not home.exists()


async def test_one_that_ignores_sigterm_is_killed() -> None:
    async with Family() as family:
        child = await family.start("stubborn", STUBBORN, output="pipe")
        assert child.process.stdout is not None
        await child.process.stdout.readline()
        began = time.monotonic()
        assert await family.stop(child, grace_s=0.2) == -signal.SIGKILL
        assert time.monotonic() - began < 5


async def test_its_children_go_with_it(tmp_path: Path) -> None:
    async with Family() as family:
        child = await family.start("parent", PARENT, output="pipe")
        assert child.process.stdout is not None
        await child.process.stdout.readline()
        await family.stop(child)
    # The leak checker of conftest.py looks for the grandchild.


async def test_one_that_ended_says_its_last_words() -> None:
    async with Family() as family:
        command = [sys.executable, "-c", "import sys; sys.exit('no port left')"]
        child = await family.start("gateway", command)
        await child.process.wait()
        with pytest.raises(
            ChildEnded, match=r"the gateway ended with exit code 1:\n +no port left"
        ):
            child.check()


async def test_a_program_that_is_not_there_says_so() -> None:
    async with Family() as family:
        child = await family.start("ghost", ["/no/such/program"])
        assert await child.process.wait() == 127
        assert "/no/such/program: No such file" in child.tail()


async def test_cancelling_the_owner_ends_all() -> None:
    started: asyncio.Future[Child] = asyncio.get_running_loop().create_future()

    async def own() -> None:
        async with Family() as family:
            started.set_result(await family.start("sleeper", SLEEP))
            await asyncio.Event().wait()

    task = asyncio.create_task(own())
    child = await started
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not child.running


@pytest.mark.faults
def test_killing_the_owner_ends_all(tmp_path: Path) -> None:
    running = Running([sys.executable, "-c", OWNER, *STUBBORN], tmp_path)
    try:
        running.wait_for("up")
        # One that is just being executed bears no mark yet.
        until(lambda: len(running.family()) == 3, what="two children and the warden")
        running.signal(signal.SIGKILL)
        running.wait()
        running.none_left()
    finally:
        running.end()


@pytest.mark.faults
def test_killing_the_owner_while_it_starts_ends_all(tmp_path: Path) -> None:
    """At ten moments of the start: whoever was there is gone soon."""
    for moment in range(10):
        running = Running([sys.executable, "-c", OWNER, *SLEEP], tmp_path)
        try:
            until(running.family, what="the warden")
            time.sleep(moment * 0.008)
            running.signal(signal.SIGKILL)
            running.wait()
            running.none_left()
        finally:
            running.end()
