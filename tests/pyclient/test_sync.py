"""The blocking twin: many threads, Ctrl-C, an end under those who call, forks."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pyclient import Queue, SyncQueue, Ticket
from pyclient.errors import ConfigError, PeakError, TaskExpired, TaskLost, Unavailable
from pyclient.model import Bucket, Verdict
from pyclient.sync import SyncTicket
from tests.pyclient.sync_rig import free, threads, worker
from tests.servers import Server, until


def parameters(verb: Callable[..., Any]) -> list[tuple[str, object, object]]:
    """Names, kinds and defaults."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(verb).parameters.values()]


def test_it_has_the_verbs_of_the_queue() -> None:
    # `exchange` and what belongs to it is for the gateway; address and life differ by nature.
    for plain, twin in ((Queue, SyncQueue), (Ticket, SyncTicket)):
        for name, verb in vars(plain).items():
            if name.startswith("_") or name in (
                "exchange",
                "new_id",
                "positions",
                "address",
                "is_open",
            ):
                continue
            other = getattr(twin, name)
            if inspect.isfunction(verb):
                assert parameters(verb) == parameters(other), name


def test_every_verb_works(server: Server, queue_name: str) -> None:
    with worker(server.url, queue_name), SyncQueue.from_url(server.url, name=queue_name) as queue:
        assert queue.call("r", 1) == 1
        ticket = queue.submit("r", 2)
        assert len(ticket.id) == 22
        assert ticket.result(5) == 2
        assert (ticket.state(), ticket.position(), ticket.cancel()) == ("done", None, False)
        assert [one.result(5) for one in queue.submit_many("r", [3, 4])] == [3, 4]
        assert queue.attach(ticket.id).result(5) == 2
        queue.configure(slots=1, limit=10, capacity=100, lease=5, level_step=1, room={"r": 9})
        with queue.slot("db") as lease:
            assert lease.fence > 0
        queue.pause("x")
        assert queue.gauge()["state"] == "paused"
        queue.close("y")
        queue.resume()
        with pytest.raises(ConfigError, match="no dead letter"):
            queue.revive("x" * 22)
        assert queue.take([(Bucket("b", 1, 1_000_000, 5), 2)]) == [Verdict(True, 3, 0.0)]
    assert threads() == []


def test_calls_of_many_threads_travel_in_common_batches(server: Server, queue_name: str) -> None:
    with worker(server.url, queue_name), SyncQueue.from_url(server.url, name=queue_name) as queue:
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda n: queue.call("r", n, timeout=20), range(400)))
        assert answers == list(range(400))


def test_slots_exclude_across_threads(server: Server, queue_name: str) -> None:
    inside, most = 0, 0
    with SyncQueue.from_url(server.url, name=queue_name) as queue:
        queue.configure(slots=2)

        def work(_: int) -> None:
            nonlocal inside, most
            with queue.slot("db", timeout=20):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(60)))
        assert most == 2
        free(queue)


def test_a_lost_lease_shows_at_the_end_of_the_block(server: Server, queue_name: str) -> None:
    with SyncQueue.from_url(server.url, name=queue_name) as queue:
        queue.configure(lease=0.3)

        def lose(task_id: str) -> None:
            async def cancel() -> None:
                commands = await queue._queue._engine.commands("hold")
                await commands.cancel("operator", 0, "cancelled", [task_id])

            queue.run(cancel())

        def work() -> None:
            with queue.slot() as lease:
                lose(lease.id)
                until(lambda: lease.lost)

        with pytest.raises(TaskLost):
            work()

        def fail() -> None:
            with queue.slot() as lease:
                lose(lease.id)
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            fail()
        free(queue)


def test_the_end_is_told_to_those_who_call(server: Server, queue_name: str) -> None:
    queue = SyncQueue.from_url(server.url, name=queue_name)
    queue.open()
    ends: list[object] = []

    def call(_: int) -> None:
        try:
            ends.append(queue.call("r", timeout=30))
        except PeakError as error:
            ends.append(error)

    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(call, n) for n in range(20)]
        until(lambda: queue.gauge()["waiting"] == 20)
        more = [pool.submit(call, n) for n in range(20)]
        queue.aclose()
        for future in (*futures, *more):
            future.result(timeout=5)
    assert len(ends) == 40
    assert all(isinstance(end, Unavailable) for end in ends)
    assert threads() == []


def test_used_after_its_end_it_says_so_and_can_be_opened_again(
    server: Server, queue_name: str
) -> None:
    queue = SyncQueue.from_url(server.url, name=queue_name)
    queue.aclose()
    with pytest.raises(Unavailable, match="was closed"):
        queue.gauge()
    assert threads() == []
    with queue:
        assert queue.gauge()["waiting"] == 0
    queue.aclose()
    with pytest.raises(Unavailable, match="was closed"):
        queue.call("r")


def test_tasks_left_in_the_loop_end_with_it(server: Server, queue_name: str) -> None:
    queue = SyncQueue.from_url(server.url, name=queue_name)
    with ThreadPoolExecutor(1) as pool:
        sleeper = pool.submit(queue.run, asyncio.sleep(60))
        until(lambda: queue._loop is not None and asyncio.all_tasks(queue._loop))
        queue.aclose()
        with pytest.raises(Unavailable, match="was closed"):
            sleeper.result(timeout=5)


def test_its_own_loop_must_not_wait_for_it(server: Server, queue_name: str) -> None:
    with SyncQueue.from_url(server.url, name=queue_name) as queue:

        async def call() -> None:
            for use in (queue.gauge, queue.aclose):
                with pytest.raises(ConfigError, match="its own event loop"):
                    use()

        queue.run(call())


def test_a_thread_that_can_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        SyncQueue.from_url("redis://127.0.0.1:1").gauge()


def interrupt_in(seconds: float) -> None:
    """Ctrl-C for the main thread."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_ctrl_c_ends_a_call_and_takes_it_out_of_the_line(server: Server, queue_name: str) -> None:
    with SyncQueue.from_url(server.url, name=queue_name) as queue:
        interrupt_in(0.2)
        with pytest.raises(KeyboardInterrupt):
            queue.call("r", timeout=20)
        until(lambda: queue.gauge()["waiting"] == 0)
        with pytest.raises(TaskExpired):
            queue.call("r", timeout=0.1)


def test_ctrl_c_around_a_slot_leaves_none_held(server: Server, queue_name: str) -> None:
    with SyncQueue.from_url(server.url, name=queue_name) as queue:
        queue.configure(slots=1)
        with queue.slot():
            pass

        def for_ever(seconds: float) -> None:
            interrupt_in(seconds)
            while True:
                with queue.slot(timeout=5):
                    pass

        for delay in range(20):
            with pytest.raises(KeyboardInterrupt):
                for_ever(0.001 + delay / 7000)
            free(queue)
            assert queue._queue._engine.slots is not None
            assert queue._queue._engine.slots.held == {}


def test_ctrl_c_together_with_the_turn_leaves_none_held(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SyncQueue.from_url(server.url, name=queue_name) as queue:
        run = queue.run

        def run_and_press(work: Any) -> Any:
            run(work)
            raise KeyboardInterrupt

        def press_before(work: Any) -> Any:
            work.close()
            raise KeyboardInterrupt

        slot = queue.slot()
        monkeypatch.setattr(queue, "run", run_and_press)
        with pytest.raises(KeyboardInterrupt):
            slot.__enter__()
        monkeypatch.setattr(queue, "run", run)
        free(queue)
        slot = queue.slot()
        slot.__enter__()
        monkeypatch.setattr(queue, "run", press_before)
        with pytest.raises(KeyboardInterrupt):
            slot.__exit__(None, None, None)
        monkeypatch.setattr(queue, "run", run)
        free(queue)


FORKED = """
import os, sys
from pyclient import SyncQueue
from pyclient.errors import ConfigError

queue = SyncQueue.from_url(sys.argv[1], name=sys.argv[2])
queue.open()
pid = os.fork()
if pid == 0:
    try:
        queue.gauge()
    except ConfigError as error:
        print(error, flush=True)
        queue.aclose()
        with SyncQueue.from_url(sys.argv[1], name=sys.argv[2]) as other:
            print(other.gauge()["waiting"], flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(queue.gauge()["waiting"])
queue.aclose()
"""


def test_a_child_process_is_told_to_make_its_own(server: Server, queue_name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED, server.url, queue_name],
        capture_output=True,
        text=True,
        timeout=30,
    )
    first, *rest = done.stdout.splitlines()
    assert "before a fork" in first
    assert rest == ["0", "0"], done.stderr
