"""One task there and its answer back, or many tasks there: how calls and submissions use a line."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from .codec import INLINE_BYTES, ONCE, encode
from .engine import Engine
from .entry import Entry
from .errors import PeakError
from .keys import new_task_id
from .line import Line
from .model import Profile
from .outcome import answer_of, is_large
from .profiles import ATTEMPTS, keep_of, profile_of, to_ms, with_key
from .ticket import Ticket

_CHUNK = 1024
_LEAST_S = 0.25
_AFTER_S = 0.05


def send(
    engine: Engine,
    profile: Profile,
    body: bytes,
    timeout: float,
    task_id: str = "",
    key: str | None = None,
) -> Coroutine[Any, Any, bytes]:
    """Send a task and wait for its answer, on the line of its shard; see `exchange`."""
    line = engine.ready("pull")
    if line is not None:  # it is open and there are no shards: a coroutine less to wake
        deadline = line.loop.time() + timeout
        return exchange(line, profile, body, deadline, task_id or new_task_id())
    deadline = asyncio.get_running_loop().time() + timeout
    return _open_and_send(engine, profile, body, deadline, task_id, key)


async def _open_and_send(
    engine: Engine, profile: Profile, body: bytes, deadline: float, task_id: str, key: str | None
) -> bytes:
    where = "pull"
    if engine.shards > 1:
        keyed = f"{profile.tenant}\n{key}" if key else ""
        task_id = await engine.choose("pull", profile.route, keyed, task_id)
        where = engine.where("pull", task_id)
    line = engine.ready(where) or await engine.line(where, deadline)
    waiting = exchange(line, profile, body, deadline, task_id or new_task_id())
    del body
    return await waiting


async def exchange(
    line: Line, profile: Profile, body: bytes, deadline: float, task_id: str
) -> bytes:
    """Send a task and wait for its answer until `deadline` (loop's clock). Large bodies are
    removed when they have served."""
    loop = line.loop
    large = len(body) > INLINE_BYTES
    if large:
        body = await _put(line, task_id, profile, body, deadline - loop.time())
    entry = Entry(task_id, profile, body, loop=loop)
    value = b""
    line.deadlines.add(entry, deadline)
    # A call may run for as long as it may wait; where it may run longer, its wait ends apart.
    wait_ends = loop.time() + profile.wait_ms / 1000 + _AFTER_S
    look = loop.call_at(wait_ends, _wait_is_over, line, entry) if wait_ends < deadline else None
    try:
        value = await line.submit(entry)
        answer = answer_of(entry.id, value)
        if is_large(answer):
            large = True
            left = max(deadline - loop.time(), _LEAST_S)
            answer = await line.bodies.fetch(entry.id, answer, timeout=left)
        return answer
    except asyncio.CancelledError:
        if not value:
            line.forget(entry, "cancelled")
        raise
    finally:
        line.deadlines.discard(entry)
        if look is not None:
            look.cancel()
        if large:
            _tidy(line, task_id, entry)
        del entry  # an error has this frame, and its future the error: see collector.py


def _wait_is_over(line: Line, entry: Entry) -> None:
    """The time in line is counted from when Redis has the task, which is not before now."""
    if entry.future.done():
        return
    loop = asyncio.get_running_loop()
    since = entry.acked_at if entry.acked else loop.time()
    ends = since + entry.profile.wait_ms / 1000 + _AFTER_S
    if loop.time() < ends:
        loop.call_at(ends if entry.acked else loop.time() + _AFTER_S, _wait_is_over, line, entry)
    else:
        line.spawn(_end_wait(line, entry))


async def _end_wait(line: Line, entry: Entry) -> None:
    """Take it out of the line unless it runs. No lease begins any more, so nothing can come
    between the look and the cancel."""
    while not entry.future.done():
        try:
            (state,) = await line.commands.fetch("state", [entry.id])
        except PeakError:
            await asyncio.sleep(_AFTER_S)
            continue
        if state in (b"waiting", b"due") and not entry.future.done():
            line.cancel(entry.id, "expired")
        return


async def submit_all(
    engine: Engine,
    route: str,
    payloads: Iterable[object],
    level: int,
    tenant: str,
    timeout: float,
    key: str | None,
    keep: float,
) -> list[Ticket]:
    """What `Queue.submit` and `submit_many` do; with a key there is one payload."""
    wait_ms = to_ms(timeout)
    timeout = wait_ms / 1000
    profile = profile_of(route, level, tenant, wait_ms, wait_ms, 0, ATTEMPTS, keep_of(keep))
    bodies = [encode(payload) for payload in payloads]
    if key is not None:
        profile = with_key(profile, key, bodies[0])
    deadline = asyncio.get_running_loop().time() + timeout
    keyed = f"{tenant}\n{key}" if key is not None else ""
    tickets: list[Ticket] = []
    for start in range(0, len(bodies), _CHUNK):
        some = bodies[start : start + _CHUNK]
        places = await _places(engine, profile.route, keyed, len(some), deadline)
        entries = await submit(places, profile, some, timeout, lone=key is None)
        tickets += [
            Ticket(line, one.id, one) for (line, _), one in zip(places, entries, strict=True)
        ]
    return tickets


async def _places(
    engine: Engine, route: str, keyed: str, count: int, deadline: float
) -> list[tuple[Line, str]]:
    """A line and an id for each of `count` tasks."""
    if engine.shards == 1:
        line = await engine.line("pull", deadline)
        return [(line, new_task_id()) for _ in range(count)]
    ids = [await engine.choose("pull", route, keyed) for _ in range(count)]
    return [(await engine.line(engine.where("pull", one), deadline), one) for one in ids]


async def submit(
    places: Sequence[tuple[Line, str]],
    profile: Profile,
    bodies: Sequence[bytes],
    timeout: float,
    *,
    lone: bool,
) -> list[Entry]:
    """Have tasks admitted that outlive this process; raises the first refusal, with a note of
    how many were admitted. `lone`: no idempotency key, so nobody else can want them."""
    loop = asyncio.get_running_loop()
    entries: list[Entry] = []
    answers: list[asyncio.Future[None]] = []
    for (line, _), body in zip(places, bodies, strict=True):
        line.bodies.check(body)
    try:
        for (line, task_id), body in zip(places, bodies, strict=True):
            if len(body) > INLINE_BYTES:
                body = await _put(line, task_id, profile, body, timeout)
            entry = Entry(task_id, profile, body)
            entry.lone = lone
            entry.admitted = loop.create_future()
            line.submit(entry)
            entries.append(entry)
            answers.append(entry.admitted)
        await asyncio.wait(answers)
    except BaseException:  # nobody will have their tickets
        for (line, _), entry in zip(places, entries, strict=False):
            line.forget(entry, "cancelled")
        raise
    for entry in entries:
        entry.lone = False
    refused = [answer for answer in answers if answer.exception() is not None]
    if refused and len(answers) > 1:
        error = refused[0].exception()
        assert error is not None
        error.add_note(f"of {len(answers)} payloads {len(answers) - len(refused)} were admitted")
    for answer in answers:
        answer.result()
    return entries


async def _put(line: Line, task_id: str, profile: Profile, body: bytes, timeout: float) -> bytes:
    """Store a large body for as long as the task can live."""
    ttl_ms = profile.wait_ms + profile.run_ms * profile.attempts
    tag = await line.bodies.put(task_id, body, ttl_ms, timeout=min(timeout, 30.0))
    return tag + ONCE if profile.attempts == 1 and profile.keep_s == 0 else tag


def _tidy(line: Line, task_id: str, entry: Entry) -> None:
    """Remove large bodies that nobody needs: with an idempotency key others may need them."""
    if entry.profile.keep_s == 0:
        line.tidy(task_id)
    elif entry.id != task_id or not entry.acked:
        line.tidy(task_id, answer=False)
