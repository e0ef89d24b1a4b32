"""The command: processes under a supervisor, how they end and what happens when they don't."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from pyclient import Queue, TaskLost
from tests.servers import Server, until
from tests.worker.rig import command, eventually, gone, line_count, lines
from worker_app import logs
from worker_app.__main__ import main
from worker_app.supervisor import MISCONFIGURED, Supervisor

HANDLERS = "tests.worker.handlers:worker"


async def test_sigterm_lets_what_runs_end_and_exits_0(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        tickets = await queue.submit_many("sleep", [0.3] * 20)
        with command(server, queue_name, tmp_path, T_CONCURRENCY="4") as worker:
            await eventually(lambda: line_count(tmp_path) >= 4)
            children = worker.children()
            code = await asyncio.to_thread(worker.end)
            assert code == 0, worker.output
            assert all(gone(pid) for pid in children)
        ran = {text.split()[0] for text in lines(tmp_path)}
        assert lines(tmp_path, "left") == ["lifespan"]
        gauge = await queue.gauge()
        assert (gauge["done"], gauge["running"]) == (len(ran), 0)
        assert gauge["waiting"] == 20 - len(ran)
        with command(server, queue_name, tmp_path) as worker:
            await asyncio.gather(*(ticket.result(timeout=10) for ticket in tickets))
            assert await asyncio.to_thread(worker.end, signal.SIGINT) == 0
        assert len(lines(tmp_path)) == 20  # none ran twice


@pytest.mark.leaves_keys
async def test_a_second_signal_hands_back_at_once(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.submit_many("sleep", [30] * 3)
        await queue.submit_many("thread", [5] * 2)
        with command(server, queue_name, tmp_path) as worker:
            await eventually(lambda: line_count(tmp_path) == 5)
            began = time.monotonic()
            worker.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert await asyncio.to_thread(worker.end, signal.SIGINT) == 0
            assert time.monotonic() - began < 4
        gauge = await queue.gauge()
        assert (gauge["waiting"], gauge["running"]) == (5, 0)


@pytest.mark.leaves_keys
async def test_what_outlasts_the_drain_is_handed_back(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.submit("sleep", 30)
        with command(server, queue_name, tmp_path, T_DRAIN="0.5") as worker:
            await eventually(lambda: line_count(tmp_path) == 1)
            assert await asyncio.to_thread(worker.end) == 0
        assert (await queue.gauge())["waiting"] == 1


async def test_a_killed_worker_loses_nothing_and_only_its_own_run_again(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.6)
        with command(server, queue_name, tmp_path, HANDLERS, "-p", "2", T_CONCURRENCY="50") as w:
            held = await queue.submit_many("sleep", [1.5] * 100)
            await eventually(lambda: line_count(tmp_path) == 100)
            load = [asyncio.create_task(queue.call("sleep", 0.01)) for _ in range(300)]
            runs = [text.split() for text in lines(tmp_path)]
            victim = int(runs[0][2])
            its_own = {run[0] for run in runs if int(run[2]) == victim}
            assert len(its_own) == 50
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            expected = {ticket.id for ticket in held}
            again: dict[str, float] = {}

            def back() -> bool:
                for text in lines(tmp_path):
                    task, attempt, _ = text.split()
                    if attempt == "2":
                        again.setdefault(task, time.monotonic() - killed)
                return set(again) == its_own

            await eventually(back, timeout=10)
            results = await asyncio.gather(*(ticket.result(timeout=15) for ticket in held))
            answers = await asyncio.gather(*load)
            assert set(results) == expected
            assert len(set(answers)) == 300
            assert max(again.values()) < 0.6 + 1 + 1.5  # lease + 1 s, and until a slot is free
            await asyncio.to_thread(w.end)
        counts: dict[str, int] = {}
        for text in lines(tmp_path):
            counts[text.split()[0]] = counts.get(text.split()[0], 0) + 1
        assert {task for task, runs_ in counts.items() if runs_ > 1} <= its_own
        gauge = await queue.gauge()
        assert (gauge["lost"], gauge["failed"], gauge["running"]) == (0, 0, 0)


@pytest.mark.parametrize("how", ["exit", pytest.param("segfault", marks=pytest.mark.full)])
async def test_a_task_that_kills_its_workers_ends_as_lost(
    server: Server, queue_name: str, tmp_path: Path, how: str
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.5)
        with command(server, queue_name, tmp_path) as worker:
            ticket = await queue.submit("die", how, timeout=60)
            with pytest.raises(TaskLost):
                await ticket.result(timeout=20)
            assert [text.split()[1] for text in lines(tmp_path)] == ["1", "2", "3"]
            assert (await queue.call("state"))[0] == "state"
            assert await asyncio.to_thread(worker.end) == 0


async def test_a_blocked_event_loop_keeps_its_leases(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.5)
        with command(server, queue_name, tmp_path, HANDLERS, "-p", "2") as worker:
            assert await queue.call("block", 1.6, timeout=10) == 1
            assert len(lines(tmp_path)) == 1
            assert await asyncio.to_thread(worker.end) == 0


async def test_a_thread_past_its_time_has_its_process_replaced(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        with command(server, queue_name, tmp_path) as worker:
            before = (await queue.call("state"))[4]
            with pytest.raises(Exception, match="timed out"):
                await queue.call("stubborn", 60)
            await eventually(lambda: gone(before), timeout=8)
            after = (await queue.call("state"))[4]
            assert after != before
            assert worker.children() == [after]
            assert await asyncio.to_thread(worker.end) == 0


async def test_children_of_a_killed_supervisor_finish_what_runs_and_end(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        with command(server, queue_name, tmp_path, HANDLERS, "-p", "2") as worker:
            ticket = await queue.submit("sleep", 2.5)
            await eventually(lambda: line_count(tmp_path) == 1)
            children = worker.children()
            assert len(children) == 2
            worker.process.kill()
            worker.wait()
            await asyncio.sleep(1.5)  # until both have noticed
            later = await queue.submit("sleep", 0, keep=1)
            assert await ticket.result(timeout=8) == ticket.id
            await eventually(lambda: all(gone(pid) for pid in children), timeout=8)
            assert await later.state() == "waiting"
            await later.cancel()
        assert len(lines(tmp_path)) == 1


def test_a_dead_child_is_replaced(server: Server, queue_name: str, tmp_path: Path) -> None:
    with command(server, queue_name, tmp_path, HANDLERS, "-p", "2") as worker:
        until(lambda: len(worker.children()) == 2)
        victim, other = worker.children()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(set(worker.children()) - {victim, other}) == 1)
        assert other in worker.children()
        assert worker.end() == 0


def test_what_can_not_work_is_said_by_a_child_and_ends_all_with_1(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    words = (HANDLERS, "-p", "2")
    with command(server, queue_name, tmp_path, *words, T_CONCURRENCY="0") as worker:
        assert worker.wait() == 1, worker.output
        assert "concurrency is 0" in worker.output


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (["tests.worker.nowhere:worker"], {}, "no module 'tests.worker.nowhere'"),
        (["tests.worker.handlers:nothing"], {}, "no attribute 'nothing'"),
        (["tests.worker.handlers:note"], {}, "is a function, expected a worker_app.Worker"),
        (["tests.worker.handlers"], {}, "expected module:worker"),
        ([HANDLERS], {"PEAK_LAESE": "3"}, "Did you mean PEAK_LEASE?"),
        ([HANDLERS], {"PEAK_DRAIN_TIMEOUT": "soon"}, "PEAK_DRAIN_TIMEOUT: expected"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    env: dict[str, str],
    said: str,
) -> None:
    monkeypatch.delenv("TEST_OF_PEAK")
    monkeypatch.setattr(logs, "set_up", lambda form, level: None)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert main([*words, "--lifeline", "0"]) == MISCONFIGURED
    output = capsys.readouterr().err
    assert said in output
    assert output.count("\n") == 1


def test_without_a_terminal_log_lines_are_json(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    import json

    with command(server, queue_name, tmp_path) as worker:
        until(lambda: worker.children())
        time.sleep(1)
        assert worker.end() == 0
        messages = [json.loads(text)["message"] for text in worker.output.splitlines()]
    assert any("stopping" in message for message in messages)


async def test_a_worker_that_was_frozen_answers_too_late(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        await queue.configure(lease=0.4)
        with command(server, queue_name, tmp_path, HANDLERS, "-p", "2") as worker:
            ticket = await queue.submit("sleep", 0.6)
            await eventually(lambda: line_count(tmp_path) == 1)
            frozen = int(lines(tmp_path)[0].split()[2])
            os.kill(frozen, signal.SIGSTOP)
            try:
                assert await ticket.result(timeout=8) == ticket.id
            finally:
                os.kill(frozen, signal.SIGCONT)
            assert [text.split()[1] for text in lines(tmp_path)] == ["1", "2"]
            pids = {(await queue.call("state"))[4] for _ in range(30)}
            assert not gone(frozen)
            assert pids <= set(worker.children())
            assert await asyncio.to_thread(worker.end) == 0
        gauge = await queue.gauge()
        assert (gauge["done"], gauge["running"], gauge["lost"]) == (31, 0, 0)


async def test_a_signal_to_all_processes_drains_as_one_to_the_supervisor(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        with command(server, queue_name, tmp_path) as worker:
            ticket = await queue.submit("sleep", 1.5, keep=60)
            await eventually(lambda: line_count(tmp_path) == 1)
            (child,) = worker.children()
            os.kill(child, signal.SIGTERM)
            await eventually(lambda: "stopping: 1 running" in worker.output)
            os.kill(child, signal.SIGTERM)
            assert await asyncio.to_thread(worker.end) == 0
            assert await ticket.result(timeout=5) == ticket.id


async def test_what_handlers_print_is_not_lost_at_the_end(
    server: Server, queue_name: str, tmp_path: Path
) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        with command(server, queue_name, tmp_path, PYTHONUNBUFFERED="") as worker:
            await queue.call("say", "a word", timeout=60)
            assert await asyncio.to_thread(worker.end) == 0
            assert "a word\n" in worker.output


async def test_a_process_that_can_not_be_started_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program, began = tmp_path / "program", tmp_path / "program.began"
    supervisor = Supervisor([str(program)], 1, drain_timeout=1.0)
    run = asyncio.create_task(supervisor.run())
    await eventually(lambda: "can't be started" in caplog.text)
    program.write_text('#!/bin/sh\n: > "$0.began"\nexec sleep 600\n')
    program.chmod(0o700)
    await eventually(began.exists, timeout=20)
    supervisor._stop()
    assert await run == 0
