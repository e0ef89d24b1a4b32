"""What doctor finds: each kind of damage to a live queue is told, with what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis

from pyclient.cli.audit.looks import confirmed
from pyclient.cli.audit.reading import Bounds, Reader
from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.keys import Keys, new_task_id
from tests.cli.support import run, run_json
from tests.servers import Server

from .orders import CAPPED, RUNNING, WAITING, P, doctor, findings, profile

Damage = Callable[[redis.Redis], object]


def _repacked(client: redis.Redis, key: str, name: str, at: int, new: bytes) -> None:
    data = client.hget(P + key, name)
    assert isinstance(data, bytes)
    client.hset(P + key, name, data[:at] + new + data[at + len(new) :])


def _fence_of_another(client: redis.Redis) -> None:
    other = client.hget(P + "run", CAPPED)
    assert isinstance(other, bytes)
    _repacked(client, "run", RUNNING, 2, other[2:9])


def _tick_of_another(client: redis.Redis) -> None:
    other = client.hget(P + "tasks", RUNNING)
    assert isinstance(other, bytes)
    _repacked(client, "tasks", CAPPED, 3, other[3:10])


def _as_a_string(client: redis.Redis) -> None:
    client.delete(P + "due")
    client.set(P + "due", "x")


DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "a task nowhere in line": (
        lambda c: c.zrem(P + "wait:3", WAITING),
        "partition",
        f"{WAITING} is a task nowhere in line",
    ),
    "in line without a task": (
        lambda c: c.hdel(P + "tasks", WAITING),
        "partition",
        "in line but no task",
    ),
    "waits and runs": (
        lambda c: c.zadd(P + "leases", {WAITING: 2**42}),
        "partition",
        "waits and runs",
    ),
    "a lease without a record": (
        lambda c: c.hdel(P + "run", RUNNING),
        "leases",
        "only one of run and leases",
    ),
    "one fence twice": (_fence_of_another, "leases", "has the fence"),
    "a lease beyond its deadline": (
        lambda c: c.zadd(P + "leases", {RUNNING: 2**52}),
        "leases",
        "beyond its hard deadline",
    ),
    "too many attempts": (
        lambda c: _repacked(c, "tasks", WAITING, 2, b"\x09"),
        "headers",
        "is at attempt 9 of 3",
    ),
    "a wrong tick": (
        lambda c: c.zincrby(P + "wait:3", 1, WAITING),
        "headers",
        "its header says",
    ),
    "one tick twice": (_tick_of_another, "headers", "twice or above the clock"),
    "in line twice": (
        lambda c: c.zadd(P + "wait:4", {WAITING: 1}),
        "headers",
        f"{WAITING} waits in 2 lanes",
    ),
    "a clock that is none": (lambda c: c.set(P + "clock", "\x01"), "readable", "clock: a packed"),
    "a lane nobody looks at": (
        lambda c: c.delete(P + "ready:3"),
        "represented",
        "is not in ready and not parked",
    ),
    "an empty lane in ready": (
        lambda c: c.zadd(P + "ready:7", {"*": 1}),
        "represented",
        "an empty lane",
    ),
    "a lane not listed": (lambda c: c.delete(P + "lanes"), "listed", "not listed in lanes"),
    "a level not in use": (
        lambda c: c.zadd(P + "ready:8", {"*": 1}),
        "in_use",
        "not among the levels in use",
    ),
    "a wrong count": (
        lambda c: _repacked(c, "routes", "mail", 3, b"\x09"),
        "counted",
        "a recount gives (4, 1)",
    ),
    "a parked lane with a free slot": (
        lambda c: _repacked(c, "routes", "capped", 7, b"\x00"),
        "represented",
        "has a free slot",
    ),
    "a key for ever": (lambda c: c.set(P + "result:x", "y"), "lives", "result:x has no TTL"),
    "a strange key": (lambda c: c.set(P + "foo", "y"), "lives", "foo is no key of the layout"),
    "a key of another type": (_as_a_string, "readable", "due is a string, expected a zset"),
    "half a record": (
        lambda c: c.hset(P + "run", RUNNING, b"\x01"),
        "readable",
        "ends after 1 bytes",
    ),
    "hints that pile up": (lambda c: c.rpush(P + "wake:9", 1, 1, 1), "bounded", "holds 3 hints"),
    "a key of no queue": (lambda c: c.set("peak:foo", "y"), "keys", "peak:foo"),
}


def test_a_sound_queue_is_told_so(server: Server, orders: redis.Redis) -> None:
    done = doctor(server)
    assert done.returncode == 0, done
    assert "all invariants hold over 5 tasks" in done.stdout
    assert doctor(server, "--all").returncode == 0


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damage_is_told_and_what_to_do(server: Server, orders: redis.Redis, name: str) -> None:
    damage, check, sentence = DAMAGES[name]
    damage(orders)
    done = doctor(server, "--json")
    assert done.returncode == 1
    found = findings(done)
    told = [one for one in found[check] if sentence in one["text"]]
    assert told, found
    assert told[0]["state"] == "problem"
    assert told[0]["fix"]
    assert "\n" not in told[0]["text"]


def test_a_newer_queue_is_named_as_such(server: Server, orders: redis.Redis) -> None:
    orders.hset(P + "conf", "q", b"\x09" + bytes(60))
    done = doctor(server)
    assert done.returncode == 1
    assert "a newer release wrote it" in done.stdout


def test_leases_that_nobody_sweeps(server: Server, orders: redis.Redis) -> None:
    run("queue", "set", "orders", "lease_ms=1000", "--url", server.url)
    orders.zadd(P + "leases", {RUNNING: 1})
    done = doctor(server, "--json")
    (told,) = findings(done)["sweep"]
    assert "1 leases ended and nobody sweeps" in told["text"]


def test_a_busy_queue_read_in_pieces_shows_no_fault(server: Server) -> None:
    asyncio.run(_busy(server.url))


async def _busy(url: str) -> None:
    conn, other = Connection(url), Connection(url)
    await conn.open()
    await other.open()
    line = Commands(conn, scripts(), Keys("peak", "orders"))
    await line.configure({"mode": "pull", "capacity": 0, "concurrency capped": 2})
    await line.attach("me")
    profiles = [profile("mail", 1), profile("mail", 5), profile("capped")]
    stop = asyncio.Event()

    async def load() -> None:
        number = 1
        held: list[tuple[str, int, str, bytes]] = []
        while not stop.is_set() or held:
            number += 1
            if not stop.is_set():
                tasks = [(1 + n % 3, new_task_id(), b"x") for n in range(8)]
                await line.admit("me", number, "pull", b"0", [], profiles, tasks)
            done = await line.publish("w", number, 16, 9, held) if held else None
            got = done.tasks if done else (await line.claim("w", number, 16, 9)).tasks
            held = [(task.id, task.fence, "done", b"") for task in got]

    working = asyncio.create_task(load())
    for bounds in (Bounds(), Bounds(small=40)):
        reader = Reader(other, b"peak:{orders}:", bounds)
        for _ in range(5):
            assert (await confirmed(reader.read))[1] == []
    stop.set()
    await working
    await conn.aclose()
    await other.aclose()


def test_a_server_that_forgets_and_one_that_is_full(server: Server) -> None:
    said = findings(doctor(server, "--json"))
    assert said["durability"][0]["state"] == "warning"
    client = server.client()
    client.config_set("maxmemory", client.info("memory")["used_memory"])
    done = doctor(server)
    client.config_set("maxmemory", 0)
    assert done.returncode == 1
    assert "raise maxmemory" in done.stdout


def test_a_login_that_is_no_file_is_wrong_usage(server: Server) -> None:
    for word in ("gateway", "king=/x", "worker=/no/such/file"):
        assert doctor(server, "--as", word).returncode == 2
    assert run_json("doctor", "--json", "--url", "redis://127.0.0.1:1", code=3)["kind"]


def test_a_queue_that_stands_still_is_told_with_its_reason(
    server: Server, orders: redis.Redis
) -> None:
    run("queue", "pause", "orders", "--reason", "new tyres", "--url", server.url)
    told, _sister = findings(doctor(server, "--json"))["queue"]
    assert (told["state"], told["fix"]) == ("warning", "peakshaver queue resume orders")
    assert "(pull, paused)" in told["text"]
    assert told["text"].endswith("reason: new tyres")


def test_more_that_run_than_may_are_told(server: Server, orders: redis.Redis) -> None:
    assert "limit" not in findings(doctor(server, "--json"))
    run("queue", "set", "orders", "limit=1", "--url", server.url)
    (told,) = findings(doctor(server, "--json"))["limit"]
    assert (told["state"], told["text"]) == ("warning", "queue 'orders': 2 run, the limit is 1")


def test_a_line_that_no_worker_serves_is_a_problem(server: Server) -> None:
    asyncio.run(_wait_in_vain(server.url))
    done = doctor(server, "--json")
    (told,) = findings(done)["queue"]
    assert (done.returncode, told["fix"]) == (1, "start one: peakshaver worker")
    assert told["text"].endswith("; no worker takes anything")
    server.client().flushall()


async def _wait_in_vain(url: str) -> None:
    conn = Connection(url)
    await conn.open()
    line = Commands(conn, scripts(), Keys("peak", "orders"))
    await line.configure({"mode": "pull"})
    await line.attach("me")
    await line.admit("me", 1, "pull", b"0", [], [profile("mail")], [(1, WAITING, b"hi")])
    await conn.aclose()


def test_keys_of_a_name_that_no_queue_can_have_are_strays(
    server: Server, orders: redis.Redis
) -> None:
    orders.set("peak:{not a name}:tasks", "x")
    (told,) = findings(doctor(server, "--all", "--json"))["keys"]
    assert "not a name: tasks" in told["text"]
