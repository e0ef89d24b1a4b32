"""B39, B40: no password in a log, and nothing of a request left in Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.servers import Server, free_ports, until, valkey

from .rawtarget import Gate, answer
from .rig import Process, Site, site

PASSWORD = "pa55+w/rd~canary"
ENCODED = "pa55%2Bw%2Frd~canary"
CANARY = b"canary-4711"


def leaks(process: Process) -> list[str]:
    said = process.said()
    assert said, "a process that says nothing proves nothing"
    return [word for word in (PASSWORD, ENCODED, "pa55", "rd~canary") if word in said]


@pytest.mark.parametrize("how", ["url", "file"])
def test_b39_no_password_is_logged(how: str) -> None:
    with valkey(tcp=True, requirepass=PASSWORD) as own, site(own) as here:
        file = here.folder / "password"
        file.write_text(PASSWORD + "\n")
        env = {
            "url": {"PEAK_REDIS_URL": f"redis://:{ENCODED}@127.0.0.1:{own.port}"},
            "file": {
                "PEAK_REDIS_URL": "",
                "FAST_PRIORITY_REDIS_HOST": "127.0.0.1",
                "FAST_PRIORITY_REDIS_PORT": str(own.port),
                "FAST_PRIORITY_REDIS_USER": "default",
                "FAST_PRIORITY_REDIS_PASSWORD_FILE": str(file),
            },
        }
        more = {"PEAK_LOG_LEVEL": "debug", "PEAK_ACCESS_LOG": "all"}
        here.settings.update(env[how], **more)
        here.up()
        if how == "url":  # one that Redis refuses: what is said of that, too
            wrong = f"redis://default:wrong-{ENCODED}@127.0.0.1:{own.port}"
            here.gateway(ready=False, PEAK_REDIS_URL=wrong)
        own.kill()
        assert here.ask(b"GET", b"/any").status == 503
        until(lambda: "Redis" in here.processes[0].said(), what="a line about Redis")
        for process in here.processes:
            process.end()
            assert leaks(process) == []


def test_b39_nor_anything_else_that_is_nobodys_business(redis: Server) -> None:
    with site(redis, PEAK_ACCESS_LOG="all", PEAK_LOG_LEVEL="debug") as here:
        here.up()
        for path in (b"/x?token=" + CANARY, b"/health?token=" + CANARY, b"/../" + CANARY):
            lines = (b"Authorization: Bearer " + CANARY, b"Cookie: s=" + CANARY)
            here.ask(b"POST", path, *lines, body=CANARY)
        for process in here.processes:
            process.end()
            said = process.said().replace("/../" + CANARY.decode(), "")  # a path may be logged
            assert CANARY.decode() not in said


def everything(client: redis.Redis) -> bytes:
    """All keys and values of a Redis."""
    parts: list[Any] = []
    for key in client.scan_iter(count=1000):
        parts += [key, client.dump(key) or b""]
        read: dict[Any, Callable[[Any], Any]] = {
            b"string": client.get,
            b"hash": client.hgetall,
            b"list": lambda name: client.lrange(name, 0, -1),
            b"zset": lambda name: client.zrange(name, 0, -1),
            b"stream": client.xrange,
        }
        parts.append(read.get(client.type(key), repr)(key))
    return b"\n".join(part if isinstance(part, bytes) else repr(part).encode() for part in parts)


def full_of_canaries(here: Site, path: bytes, size: int) -> None:
    body = CANARY * (size // len(CANARY))
    lines = (b"Authorization: Bearer " + CANARY, b"Cookie: s=" + CANARY)
    said = answer(body, b"Set-Cookie: t=" + CANARY, b"Content-Encoding: identity")
    here.target.answers[path] = said
    assert here.ask(b"POST", path + b"?k=" + CANARY, *lines, body=body).status == 200


def test_b40_nothing_of_an_answered_request_stays_in_redis() -> None:
    with valkey() as own, site(own) as here:
        here.up()
        client = own.client()
        gate = Gate()
        here.target.answers[b"/held"] = gate
        again = b"Idempotency-Key: 1"  # without it a large body is gone as soon as it is read
        held = here.later(b"POST", b"/held", again, body=CANARY * 1000)
        until(lambda: here.target.at(b"/held"), what="a request that runs")
        assert CANARY in everything(client), "what can't be found now proves nothing later"
        gate.open()
        assert held.result().status == 200
        here.target.seen.clear()
        here.target.answers[b"/held"] = gate = Gate()
        held = here.later(b"POST", b"/held", body=CANARY * 1000)
        until(lambda: here.target.at(b"/held"), what="a request that runs")
        until(lambda: CANARY not in everything(client), timeout=3, what="an empty Redis")
        gate.open()
        assert held.result().status == 200
        for size in (1000, 100_000, 5_000_000):
            full_of_canaries(here, b"/some", size)
            until(lambda: CANARY not in everything(client), timeout=3, what="an empty Redis")


def test_b40_nor_of_one_that_was_never_answered(redis: Server) -> None:
    with site(redis, FAST_PRIORITY_TTL="0.3") as here:
        here.gateway()
        for size in (100, 100_000):
            body = CANARY * (size // len(CANARY))
            got = here.ask(b"POST", b"/late", b"Cookie: s=" + CANARY, body=body)
            assert got.status == 503
        client = redis.client()
        until(lambda: CANARY not in everything(client), timeout=3, what="an empty Redis")


def test_b40_no_worker_calls_what_is_not_the_target() -> None:
    """Whoever can write to Redis chooses neither host nor port of a worker with a target."""
    port = free_ports(1)[0]
    with valkey() as own, site(own) as here:
        here.worker(wait=False)
        here.gateway(FAST_PRIORITY_TARGET_BASE_URL=f"http://127.0.0.1:{port}/elsewhere")
        assert here.ask(b"GET", b"/x").status == 200
        assert here.target.at(b"/x")
