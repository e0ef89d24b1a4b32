"""Tours of the scripts that reach every line and every word: run once over EVALSHA for the words,
once over the bridge for the lines. The model explains each call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.property.actions import Kind
from tests.property.driver import PREFIX
from tests.property.stories import Stories

from .rig import task_id

Make = Callable[[], Stories]


def admissions(make: Make) -> None:
    """Every word of admit and place in a pull queue."""
    line = make()
    line.start("pull", lease_ms=1000, order="arrival", capacity=6, level_step_ms=500)
    line.admit("g0", [Kind()])
    line.attach("g0")
    buckets = [("all", 2, 1_000_000, 2), ("one", 7, 1_000_000, 5)]
    take = Kind(options="take=1:1,2:1")
    line.admit("g0", [take, take, take, Kind(options="take=1:3")], buckets=buckets)
    line.admit("g0", [Kind(), Kind(), Kind(level=9)], ids=[task_id(1), task_id(50), task_id(50)])
    line.admit("g0", [Kind()], ids=[task_id(50)])
    line.cancel("g1", [task_id(50)])
    line.admit("g0", [Kind(keep_s=60), Kind()], ids=[task_id(51), task_id(52)])
    line.cancel("g1", [task_id(51), task_id(52)])
    line.admit("g0", [Kind(), Kind()], ids=[task_id(53), task_id(51)])
    line.cancel("g0", [task_id(53)])
    same = Kind(options=f"same={'a' * 22}:{'b' * 22}")
    line.admit("g0", [same, same])
    line.admit("g0", [same, Kind(options=f"same={'a' * 22}:{'c' * 22}")])
    line.configure(reserve="0,0,0,0,1,1,1,1,1,1", room__r1=1, capacity=0)
    line.admit("g0", [Kind(level=9), Kind(level=9), Kind(route="r1"), Kind(route="r1")])
    line.place("g0", "take", line.new_id(), "r1")
    line.place("g0", "take", task_id(1), "r0")
    line.configure(capacity=3)
    line.admit("g0", [Kind(level=9)])
    line.place("g0", "take", line.new_id(), "r0")
    line.place("g1", "take", line.new_id(), "r0")
    line.configure(state="closed", reason="lunch")
    line.admit("g0", [Kind()], trim=line.model.inboxes["g0"])
    line.place("g0", "take", line.new_id(), "r0")
    line.configure(state="open", reason="", capacity=0, room__r1=0)
    line.drain()


def pace(make: Make) -> None:
    """Twenty measured runs, then a deadline that can't be met."""
    line = make()
    line.start("pull", lease_ms=60_000, concurrency__r1=1)
    line.attach("g0")
    for n in range(40):
        line.admit("g0", [Kind(), Kind(route="r1")])
        line.tick(50)
        line.publish("w9", line.claim("w9", 2 - n % 2) or line.claim("w9", 1))
    line.admit("g0", [Kind()] * 12 + [Kind(route="r1")] * 3)
    held = line.claim("w9", 2)
    line.tick(700)
    line.publish("w9", held, limit=2)
    dues = [
        Kind(due_ms=1),
        Kind(due_ms=3_600_000),
        Kind(route="r1", due_ms=1),
        Kind(route="x", due_ms=1),
    ]
    line.admit("g0", dues)
    line.call("gauge")
    line.configure(capacity=1)
    line.admit("g0", [Kind(level=7), Kind()])
    line.drain()


def working_life(make: Make) -> None:
    """Leases in all their ends; watchers, told workers, retries, letters."""
    line = make()
    line.start("pull", lease_ms=1000, concurrency__r1=1, level_step_ms=700)
    owners = ["g0", "g1", "kept"]
    kinds = [Kind(attempts=2), Kind(level=1, keep_s=60), Kind(route="r1"), Kind(route="r1")]
    for worker, top in (("w0", 0), ("w3", 3), ("w9", 9)):
        line.claim(worker, 1, top)
    for what in ("retry", "free", "due", "renew", "cancel", "told", "failed", "watch"):
        line.work(owners[len(what) % 3], "w9", kinds)
        line.then("g0", what)
        line.outlast(700)
    line.call("fetch", "state", *[task_id(n) for n in range(1, 9)])
    line.call("fetch", "position", *sorted(line.model.tasks)[:60], task_id(99))
    line.drain()
    line.poison("g0", Kind(attempts=1), "retry")
    line.call(
        "revive", *[p for n, i in enumerate(sorted(line.model.dead)) for p in (i, task_id(90 + n))]
    )
    line.call("revive", task_id(1), task_id(80))
    line.drain()
    line.admit("g0", [Kind(attempts=1), Kind(level=9)])
    line.retry("w9", line.claim("w9", 1))
    [letter] = line.model.dead
    line.call("revive", letter, f"t{line.made:021d}")
    line.poison("g0", Kind(attempts=2, wait_ms=1500), "crash")
    line.lost_reply("g0", "w9", "w3", kinds)
    line.deadline_race("g0", Kind(wait_ms=400), 1)
    line.zombie_publish(3)
    line.cap_moves("g1", "r0", 1, 0, kinds)
    line.place_cycle("g0", "r0", kinds)
    line.place_cycle("g0", "r1", kinds[:2])
    line.place("g1", "take", line.new_id(), "r1")
    line.owner_dies("g1", 0)
    line.owner_dies("g0", 300)
    line.drain()


def limits_that_move(make: Make) -> None:
    """Live limits, late and ownerless candidates, lanes that take turns."""
    line = make()
    line.start("pull", lease_ms=60_000, limit=3, level_step_ms=0, concurrency__r1=3)
    line.attach("g0")
    line.attach("g1")
    line.claim("w9", 1)
    turns = [Kind(), Kind(route="r1")]
    line.admit("g0", turns * 3)
    held = line.claim("w9", 5)
    line.admit("g0", turns)
    line.publish("w9", held)
    line.finish()
    line.drain()
    line.admit("g0", [Kind(route="r2"), Kind(route="r2"), Kind(route="r2"), Kind(level=5)])
    line.configure(concurrency__r2=1, limit=0)
    line.admit("g0", [Kind(route="r2")])
    line.claim("w9", 4)
    line.configure(concurrency__r2=0)
    line.drain()
    brief = [Kind(wait_ms=1), Kind(wait_ms=1), Kind(route="r1", wait_ms=1)]
    line.tick(300)
    line.sweep()
    line.admit("g0", [*brief, Kind(route="r1"), Kind(), Kind()])
    line.admit("g1", [Kind(), Kind(level=1)])
    line.tick(5)
    line.client.delete(PREFIX + "inbox:g1")
    line.model.inboxes.pop("g1")
    line.refresh()
    line.claim("w9", 2)
    line.cancel("g0", [i for i, _ in line.leases_of("w9")])
    line.publish("w9", line.leases_of("w9"))
    line.admit("g0", [Kind(), Kind()])
    held = line.claim("w9", 2)
    line.cancel("g0", [held[0][0], held[0][0]])
    line.renew("w9", [(held[0][0], held[0][1]), (held[1][0], 1)])
    line.retry("w9", held, delay_ms=120_000)
    line.drain()


def bad_times(make: Make) -> None:
    """Outages, dead owners, a clock that steps back, copies that arrive late."""
    line = make()
    line.start("pull", lease_ms=1000)
    line.work("g0", "w9", [Kind(attempts=3), Kind(), Kind()])
    line.outage("g0", 2100)
    line.rare_sweeper("g0", "w9", [Kind(attempts=3)])
    line.place("g0", "take", line.new_id(), "r0")
    line.work("g0", "w9", [Kind(attempts=3)])
    line.clock_back("g0", 300)
    line.clock_back("g0", 3_600_000)
    line.outlast(3000)
    line.place("g0", "take", line.new_id(), "r0")
    line.delete_inbox("g0")
    line.outlast(3000)
    line.watchers_die("g0", "g1", [Kind(), Kind()], 300)
    line.answer_unread("g0", "w9", [Kind()])
    line.admit("g0", [Kind(wait_ms=400), Kind()])
    leases = line.claim("w9", 2)
    line.retry("w9", leases, delay_ms=300)
    line.retry("w9", leases, delay_ms=300)
    line.outlast(1500)
    for at in range(len(line.sent)):
        line.again(at)
    for verb in ("claim", "publish", "retry", "cancel", "place"):
        last = next(args for sent, args in reversed(line.sent) if sent != verb and args[0] == "w9")
        rows: dict[str, list[Any]] = {
            "claim": [1, 9],
            "publish": [0, 9, task_id(1), 1, "done", ""],
            "retry": [task_id(1), 1, 0, 1, ""],
            "cancel": ["expired", task_id(1)],
            "place": ["pull", "leave", task_id(1), "r0", 3],
        }
        row = rows[verb]
        line.call(verb, "w9", int(last[1]) - 1, *row)
        line.numbered(verb, "other", *row)
        line.same_number(verb, "other", *row)
    line.call("limit", "a", 3, 1_000_000, 3, 3)
    line.call("limit", "a", 3, 1_000_000, 3, 1)
    line.call("limit", "a", 3, 1_000_000, 3, 4)
    line.call("limit", "a", 3, 1_000_000, 3, -1, "b", 1, 7, 5, 1)
    line.call("limit", "a", 3, 1_000_000, 3, -1)
    line.call("limit", "b", 3, 10, 5, 1)
    line.drain()


def holding(make: Make) -> None:
    """Hold mode: grants in replies and inboxes, lost holders, raised limits."""
    line = make()
    line.start("hold", lease_ms=1000, limit=2, capacity=9, concurrency__r1=1)
    line.work("g0", "", [Kind(), Kind(), Kind(route="r1")])
    line.work("g1", "", [Kind(level=0), Kind(route="r1")])
    line.renew("g0", line.leases_of("g0"))
    line.cancel("g1", [i for i, _ in line.leases_of("g0")][:1])
    line.again(len(line.sent) - 1)
    line.configure(limit=4)
    line.finish()
    line.attach("kept", *sorted(line.model.tasks)[:3])
    line.attach("kept", *sorted(line.model.tasks)[:3])
    line.outlast(1500)
    line.place_cycle("g0", "r0", [Kind(), Kind(), Kind()])
    line.place("g0", "take", line.new_id(), "r0")
    line.call("gauge")
    line.configure(state="paused")
    line.admit("g0", [Kind()])
    line.configure(state="open", limit=1, capacity=2)
    line.admit("g0", [Kind()] * 6)
    line.drain()


TOURS = (admissions, pace, working_life, limits_that_move, bad_times, holding)
