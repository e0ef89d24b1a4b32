"""Where no claim may stand, and a worker works as it would without."""

from __future__ import annotations

from typing import Any

import pytest

from pyclient import Queue
from pyclient import subscription as subscription_module
from tests.servers import Server, several
from tests.worker.rig import echo, eventually, line, serving
from tests.worker.standing_rig import calls, slots
from worker_app import Worker


async def test_where_a_route_may_begin_but_once_nothing_stands(
    server: Server, queue_name: str
) -> None:
    """The attempts of a route are its worker's to know, and a lost message would take the one."""
    worker = echo(server, queue_name)

    @worker.route("once", attempts=1)
    async def run_once(payload: Any) -> Any:
        return payload

    await never_stands(server, queue_name, worker)


@pytest.mark.leaves_keys("*")
async def test_with_shards_nothing_stands(server: Server, queue_name: str) -> None:
    await never_stands(server, queue_name, echo(server, queue_name, shards=2), shards=2)


@pytest.mark.once
async def test_where_answers_wait_for_replicas_nothing_stands(queue_name: str) -> None:
    with several() as make:
        primary = make(min_replicas_to_write=1, appendonly="yes")
        make(replicaof=[f"127.0.0.1 {primary.port}"], appendonly="yes").ready()
        primary.ready()
        client = primary.client()
        await eventually(lambda: client.info("replication")["min_slaves_good_slaves"] == 1)
        url = f"{primary.url}?durability=replicated:1"
        worker = Worker(queue_name, url=url)
        worker.route("echo")(_same)
        await never_stands(primary, queue_name, worker)


async def _same(payload: Any) -> Any:
    return payload


async def never_stands(server: Server, name: str, worker: Worker, **options: Any) -> None:
    """Call it a few times."""
    server.client().config_resetstat()
    async with serving(worker), Queue.from_url(server.url, name=name, **options) as queue:
        for number in range(5):
            assert await queue.call("echo", number, timeout=10) == number
            assert slots(worker) == 0
        assert calls(server)["spublish"] == 0
        assert server.client().client_list(_type="pubsub") == []


async def test_a_worker_that_may_not_subscribe_works_as_before(
    server: Server, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "_REFUSED_S", 0.2)
    client = server.client()
    rules = ("on", "nopass", "~*", "+@all", "resetchannels")
    client.execute_command("ACL", "SETUSER", "mute", *rules)
    try:
        worker = Worker(queue_name, url=server.address.replace("://", "://mute:x@"))

        @worker.route("echo")
        async def same(payload: Any) -> Any:
            return payload

        async with line(server, queue_name, worker) as queue:
            for number in range(5):
                assert await queue.call("echo", number, timeout=5) == number
                assert slots(worker) == 0
    finally:
        client.execute_command("ACL", "DELUSER", "mute")
