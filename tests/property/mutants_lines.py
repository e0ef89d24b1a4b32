"""Mutants of lanes, room, hints and outcomes."""

from __future__ import annotations

from .mutant import Mutant

ROUTES = (
    Mutant(
        "publish releases no lane",
        "cmd/publish.lua",
        "\nrelease(q)\n",
        "\n",
        "a parked lane stands still although its route is free",
        first=True,
    ),
    Mutant(
        "retry releases no lane",
        "cmd/retry.lua",
        "release(q)\nwake(q)",
        "wake(q)",
        "a parked lane stands still although its route is free",
    ),
    Mutant(
        "configure releases no lane",
        "cmd/configure.lua",
        "\nrelease(q)\n",
        "\n",
        "a raised limit has no effect",
    ),
    Mutant(
        "parked and not noted",
        "lib/routes.lua",
        "r.levels = r.levels .. level",
        "r.levels = r.levels",
        "a parked lane is forgotten",
    ),
    Mutant(
        "an earlier task behind a later head",
        "lib/lane.lua",
        "'LT', o.tick",
        "'NX', o.tick",
        "a task that comes back with its old tick stands behind",
    ),
    Mutant(
        "no age makes up for a level",
        "lib/order.lua",
        "local base = level.digit * q.step",
        "local base = level.digit",
        "levels have no meaning",
        first=True,
    ),
    Mutant(
        "room counts one too few",
        "lib/room.lua",
        "r.living >= r.room",
        "r.living > r.room",
        "one more than the room of a route",
    ),
    Mutant(
        "capacity counts one too few",
        "lib/room.lua",
        "count_waiting(q) >= bound",
        "count_waiting(q) > bound",
        "one more than the capacity",
    ),
    Mutant(
        "no reserve",
        "lib/room.lua",
        "local bound = q.capacity - mark_of(q, level)",
        "local bound = q.capacity",
        "the reserve of urgent levels is used up by others",
    ),
    Mutant(
        "a place is lost with its task",
        "lib/finish.lua",
        "q.places == 0\n",
        "true\n",
        "room kept for an open place is given away",
    ),
    Mutant(
        "a place keeps its first name",
        "cmd/admit.lua",
        "for i = 1, #state.moved do",
        "for i = 1, 0 do",
        "the second task of a place is counted under the first",
    ),
)

HINTS = (
    Mutant("retry wakes nobody", "cmd/retry.lua", "wake(q)\n", "", "work waits, workers sleep"),
    Mutant("sweep wakes nobody", "cmd/sweep.lua", "  wake(q)\n", "", "work waits, workers sleep"),
    Mutant(
        "configure wakes nobody",
        "cmd/configure.lua",
        "  wake(q)\n",
        "",
        "a raised limit is used at the next poll only",
        first=True,
    ),
    Mutant(
        "only the widest workers are woken",
        "lib/wake.lua",
        "lowest = math.min(lowest",
        "lowest = math.max(lowest",
        "workers for urgent levels sleep",
    ),
    Mutant(
        "the told worker is not told",
        "cmd/cancel.lua",
        "redis.call('RPUSH', key",
        "redis.call('SET', 'x', key",
        "a cancelled task runs on",
    ),
    Mutant(
        "configure grants nothing",
        "cmd/configure.lua",
        "_, more = grant(q, '')",
        "_, more = nil, 0",
        "a raised limit has no effect",
        "hold",
        first=True,
    ),
    Mutant(
        "cancel grants nothing",
        "cmd/cancel.lua",
        "mine, more = grant(q, caller)",
        "mine, more = {}, 0",
        "a slot stays free",
        "hold",
    ),
)

ENDS = (
    Mutant(
        "no kept result",
        "lib/finish.lua",
        "if t.keep > 0 then",
        "if false then",
        "a submitted task has no answer",
    ),
    Mutant(
        "no result for a missing inbox",
        "lib/post.lua",
        "first, sent and 0 or last, 2",
        "first, 0, 2",
        "an answer is nowhere",
        first=True,
    ),
    Mutant(
        "watchers hear nothing",
        "lib/finish.lua",
        "if t.flags % 2 == 1 then",
        "if false then",
        "who attached waits for ever",
    ),
    Mutant(
        "a due task is cancelled by half",
        "cmd/cancel.lua",
        "if #due > 0 then",
        "if false then",
        "an id without a task comes due",
    ),
    Mutant(
        "buckets are not paid",
        "cmd/admit.lua",
        "for i = 1, #buckets do\n  save",
        "for i = 1, 0 do\n  save",
        "a quota that never ends",
    ),
    Mutant(
        "an empty bucket gives",
        "cmd/admit.lua",
        "  if worst > 0 then",
        "  if worst > 2000000000 then",
        "a quota that nobody keeps",
    ),
    Mutant(
        "an inbox is trimmed to nothing",
        "cmd/admit.lua",
        "'MINID', trim_id",
        "'MAXLEN', 0",
        "answers are gone before they were read",
    ),
)
