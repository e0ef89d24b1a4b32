"""Tours that the model does not follow: bounds of 64 and more, half-restored records, refusals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import redis

from tests.property.actions import Kind
from tests.property.driver import PREFIX
from tests.property.stories import Stories

from .calls import BAD, CALLS, SETTINGS
from .rig import task_id

Make = Callable[[], Stories]


def standing(make: Make) -> None:
    """Claims that stand: too small, too low, unheard, too old, one too many, and answered."""
    line = make()
    line.start("pull", lease_ms=60_000)
    line.attach("g0")
    line.attach("g1")
    heard = line.client.pubsub()
    heard.ssubscribe(PREFIX + "given:w9")
    for name, limit, level in (
        ("w1", 1, "9+"),
        ("w2", 64, "2+"),
        ("w3", 64, "9+"),
        ("w9", 3, "9+"),
    ):
        line.raw("claim", name, 0, limit, level)
    _raw_admit(line, [("r", 3), ("r", 3)], 700)
    _raw_admit(line, [("r", 3)], 710, attempts=1)
    leases = line.raw("claim", "w9", 0, 3, "9+")[3]
    line.raw("publish", "w9", 0, 2, "9+", leases[0], leases[1], "done", "")
    line.tick(20_000)
    _raw_admit(line, [("r", 3)], 720)
    line.raw("claim", "w9", 0, 3, 9)
    for n in range(18):
        line.raw("claim", f"v{n}", 0, 1, "9+")
    line.raw("claim", "v3", 0, 0, 9)
    heard.close()
    line.client.flushall()


def bounds(make: Make) -> None:
    """Raw: more than 64 of everything, lanes beyond a window, a full cemetery."""
    line = make()
    line.start("pull", lease_ms=1000, capacity=0)
    names = [f"c{n:02d}" for n in range(90)]
    for at in range(0, 90, 45):
        line.raw("configure", *[p for n in names[at : at + 45] for p in (f"concurrency {n}", 1)])
    _raw_attach(line)
    count = 0
    for _ in range(2):
        for at in range(0, 90, 30):
            _raw_admit(line, [(n, 3) for n in names[at : at + 30]], count)
            count += 30
    _raw_admit(line, [("p", level) for level in (3, 3, 5)], count)
    for _ in range(6):
        line.raw("claim", "w9", 0, 64, 9)
    for cap in (2, 1):
        for at in range(0, 90, 45):
            rows = [p for n in names[at : at + 45] for p in (f"concurrency {n}", cap)]
            line.raw("configure", *rows)
    line.raw("claim", "w9", 0, 64, 9)
    _raw_admit(line, [("q", 4)] * 64, 300)
    _raw_admit(line, [("q", 4)] * 16, 364)
    for n in range(66):
        line.raw("attach", f"x{n}", task_id(364), task_id(365))
    for _ in range(12):
        line.tick(400)
        line.raw("sweep")
    line.raw("gauge")
    line.raw("fetch", "position", task_id(150))
    pipe = line.client.pipeline()
    for n in range(10_000):
        pipe.zadd(PREFIX + "dead", {f"d{n:021d}": line.now_ms - n})
    pipe.execute()
    line.client.zadd(PREFIX + "dead", {task_id(999): line.now_ms - 700_000_000})
    _raw_admit(line, [("large", 0)], 500)
    leases = line.raw("claim", "w0", 0, 1, 0)[3]
    line.raw("publish", "w0", 0, 0, 0, leases[0], leases[1], "done", "M")
    _raw_admit(line, [("late", 0)], 500)
    for _ in range(2):
        leases = line.raw("claim", "w0", 0, 1, 0)[3]
        line.raw("retry", "w0", 0, leases[0], leases[1], 0, 1, "broken")
    _raw_admit(line, [("due", 1)] * 64, 600)
    leases = line.raw("claim", "w0", 0, 64, 1)[3]
    rows = [p for at in range(0, len(leases), 8) for p in (*leases[at : at + 2], 100, 0, "")]
    line.raw("retry", "w0", 0, *rows)
    line.raw("place", "g0", 0, "pull", "take", task_id(900), "r0", 3)
    line.raw("place", "g0", 0, "pull", "take", task_id(901), "r0", 3)
    line.client.delete(PREFIX + "inbox:g0")
    for _ in range(20):
        line.tick(300)
        line.raw("sweep")


def orphans_of_all_kinds(make: Make) -> None:
    """Records that do not fit together: what a script meets after half of a queue was restored."""
    line = make()
    line.start("pull", lease_ms=1000)
    line.work("g0", "w9", [Kind(), Kind()])
    line.client.hdel(PREFIX + "run", task_id(1))
    line.client.hdel(PREFIX + "tasks", task_id(2))
    for _ in range(4):
        line.tick(400)
        line.raw("sweep")
    assert not line.client.exists(PREFIX + "leases")
    line.client.flushall()


def cascade(make: Make) -> None:
    """Raw: more than 64 grants, to one inbox and to a missing one."""
    line = make()
    line.start("hold", lease_ms=1000, limit=1, capacity=0)
    _raw_attach(line)
    _raw_admit(line, [("r0", 3)] * 64, 0, mode="hold")
    _raw_admit(line, [("r0", 3)] * 64, 64, mode="hold")
    line.raw("configure", "limit", 100)
    for _ in range(12):
        line.tick(400)
        line.raw("sweep")


def _raw_attach(line: Stories) -> None:
    line.raw("attach", "g0")
    line.client.pexpire(PREFIX + "inbox:g0", 600_000)  # real time must not end it


def _raw_admit(
    line: Stories, kinds: list[tuple[str, int]], first: int, mode: str = "pull", attempts: int = 2
) -> None:
    profiles = list(dict.fromkeys(kinds))
    args: list[Any] = [mode, 0, 0, len(profiles)]
    for route, level in profiles:
        args += [level, route, "", 60_000, 900, 0, attempts, 0, ""]
    for n, kind in enumerate(kinds):
        args += [profiles.index(kind) + 1, task_id(first + n), "x"]
    line.raw("admit", "g0", 0, *args)


def refusals(make: Make) -> None:
    """Raw: each malformed argument once, the other mode, newer data."""
    line = make()
    line.start("pull")
    for verb, parts in CALLS.items():
        args = [part.value for part in parts]
        for at, part in enumerate(parts):
            for bad in BAD[part.kind](part):
                if len(str(bad)) < 10_000:
                    _refused(line, verb, [*args[:at], bad, *args[at + 1 :]])
        _refused(line, verb, [*args, "x"])
        _refused(line, verb, args[:-1])
    for name, values in SETTINGS.items():
        for bad in values:
            _refused(line, "configure", [name, bad])
    _refused(line, "configure", ["mode", "hold"])
    _refused(line, "limit", ["x", 1, 10, 10, 1, "x", 1, 10, 10, 1])
    _refused(line, "limit", ["x", 1, 10**12, 10**9, 1])
    two = ["x", 1, 10, 10] * 2
    admit = [part.value for part in CALLS["admit"]]
    _refused(line, "admit", [*admit[:4], 2, *two, *admit[9:]])
    _refused(line, "admit", admit[:18])
    _refused(line, "publish", ["w", 1, 0, 9, task_id(1), 1, "done", "x" * 5_000_000])
    line.raw("configure", "mode", "pull")
    conf = line.client.hget(PREFIX + "conf", "q")
    assert isinstance(conf, bytes)
    line.client.hset(PREFIX + "tasks", task_id(1), b"\x02" + bytes(40))
    _refused(line, "fetch", ["position", task_id(1)])
    line.client.hset(PREFIX + "conf", "q", b"\x03" + conf[1:])
    _refused(line, "sweep", [])
    other = make()
    other.start("hold", lease_ms=1000)
    for verb in ("claim", "admit"):
        _refused(other, verb, [part.value for part in CALLS[verb]])
    _refused(other, "publish", ["g0", 1, 1, 9, task_id(1), 1, "done", ""])
    fresh = make()
    _refused(fresh, "revive", [task_id(1)])
    fresh.raw("gauge")
    fresh.raw("place", "g0", 0, "pull", "leave", task_id(1), "r0", 3)


def _refused(line: Stories, verb: str, args: list[Any]) -> None:
    with contextlib.suppress(redis.ResponseError):
        line.raw(verb, *args)


RAW = (bounds, standing, orphans_of_all_kinds, cascade, refusals)
